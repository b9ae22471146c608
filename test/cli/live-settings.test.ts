/** A configuration file that changes under a serving process, in every way that files are changed. */
import { createHash } from "node:crypto";
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { stringify } from "yaml";
import { killProcesses, metricOf, type SidecarProcess, startProcess, temporaryDirectory } from "../support/process.ts";
import { until } from "../support/redis.ts";
import { DENY, scripted, scriptedBundle } from "../support/scripted.ts";
import { API_KEYS, type Body, KEYS } from "../support/sidecar.ts";

afterAll(killProcesses);

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
const GUEST = {
  id: "guest",
  sha256: sha256("guest-key"),
  scopes: ["decide"],
  actors: "*",
  roles: "*",
  on_behalf_of: "*",
};

interface Live {
  readonly sidecar: SidecarProcess;
  readonly path: string;
  /** The settings of the file, as it is replaced by another of the same name. */
  write(settings: Body): void;
  entries(): Promise<Body[]>;
  decide(key: string, proposal?: Body): Promise<{ readonly status: number; readonly body: Body }>;
}

const settings = (changes: Body = {}): Body => ({ auth: "api_key", api_keys: [...API_KEYS, GUEST], ...changes });

async function start(
  put: (directory: string, text: string) => string = (directory, text) => {
    const path = join(directory, "holdpoint.yaml");
    writeFileSync(`${path}.aside`, text);
    renameSync(`${path}.aside`, path);
    return path;
  },
): Promise<Live> {
  const directory = temporaryDirectory();
  const path = put(directory, stringify(settings()));
  const bundle = scriptedBundle("now");
  // A variable wins over the file, so what the file is to change is in no variable.
  const sidecar = await startProcess({ bundle, config: path, api_keys: undefined }, ["serve"]);
  return {
    sidecar,
    path,
    write: (changed) => void put(directory, typeof changed === "string" ? changed : stringify(changed)),
    entries: async () => {
      const { body } = await sidecar.send({ port: "admin", path: "/v1/ledger/entries?limit=1000", key: KEYS.olivia });
      return body.entries.map(({ entry }: Body) => entry).filter(Boolean);
    },
    decide: (key, proposal = scripted(DENY)) => sidecar.send({ path: "/v1/decisions", body: proposal, key }),
  };
}

describe("a configuration file that changes", () => {
  test("takes keys and modes with it at once, is recorded, and one with faults leaves everything as it is", async () => {
    const { sidecar, write, entries, decide } = await start();
    expect((await decide("guest-key")).body).toMatchObject({ outcome: "deny", enforced: true });

    write(settings({ api_keys: API_KEYS }));
    await until(async () => (await decide("guest-key")).status !== 200, "the key is gone");
    expect((await decide(KEYS.bot)).status).toBe(200);

    write(settings({ actions: { PAY: { mode: "observe" } } }));
    await until(async () => (await decide(KEYS.bot)).body.enforced === false, "the action is observed");
    expect((await decide("guest-key")).body).toMatchObject({
      outcome: "allow",
      mode: "observe",
      observed_outcome: "deny",
    });
    const other = scripted(DENY, { action: { name: "OTHER", arguments: {} } });
    expect((await decide(KEYS.bot, other)).body).toMatchObject({ outcome: "deny", enforced: true });

    write(settings({ actions: { PAY: { mode: "enforce" } } }));
    await until(async () => (await decide(KEYS.bot)).body.enforced === true, "the action is enforced");
    await until(
      async () => (await entries()).filter(({ kind }) => kind === "configuration_changed").length === 3,
      "three changes are recorded",
    );
    const changes = (await entries()).filter(({ kind }) => kind === "configuration_changed");
    expect(changes.map(({ data }) => data.applied)).toEqual([
      ["api_keys"],
      ["actions", "api_keys"].sort(byOrder),
      ["actions"],
    ]);
    expect(changes.at(-1).data).toMatchObject({ mode: "enforce", actions: { PAY: { mode: "enforce" } } });
    expect(changes.map(({ data }) => data.changes)).toEqual([
      { modes: {} },
      { modes: { PAY: { from: "enforce", to: "observe" } } },
      { modes: { PAY: { from: "observe", to: "enforce" } } },
    ]);
    const credentials = (await entries()).filter(({ kind }) => kind === "credentials_changed");
    expect(credentials.map(({ data }) => data)).toEqual([
      { added: [], removed: ["guest"] },
      { added: ["guest"], removed: [] },
    ]);
    const said = sidecar.lines.filter(({ msg }) => msg === "Configuration changed");
    expect(said.map(({ modes }) => modes)).toEqual([
      undefined,
      { PAY: "enforce → observe" },
      { PAY: "observe → enforce" },
    ]);
    expect(JSON.stringify([changes, credentials, said])).not.toContain(GUEST.sha256);

    const broken = ["mode: loose\n", "api_keys: [", "modee: observe\n", "auth: jwt\n", "- mode\n"];
    for (const [index, text] of broken.entries()) {
      write(text);
      await until(
        async () => (await metricOf(sidecar, "holdpoint_configuration_load_errors_total")) === index + 1,
        text,
      );
      expect((await decide("guest-key")).body).toMatchObject({ outcome: "deny", enforced: true });
    }
    await until(
      async () => (await entries()).filter(({ kind }) => kind === "configuration_refused").length === broken.length,
      "every refusal is recorded",
    );
    const named = sidecar.lines.filter(({ msg }) => msg.startsWith("The changed configuration has faults"));
    expect(JSON.stringify(named)).toContain("did you mean mode?");
    expect(await metricOf(sidecar, "holdpoint_configuration_current")).toBe(0);

    write(settings({ actions: { PAY: { mode: "enforce" } } }));
    await until(async () => (await metricOf(sidecar, "holdpoint_configuration_current")) === 1, "it is good again");
    const isRestored = (line: { readonly msg: string }) => line.msg.startsWith("Configuration on disk is good again");
    await until(() => sidecar.lines.some(isRestored), "the log says so");
    await until(
      async () => (await entries()).filter(({ kind }) => kind === "configuration_restored").length === 1,
      "it is recorded, once",
    );

    write(settings({ actions: { PAY: { mode: "enforce" } }, workers: 2, batch_max: 7 }));
    const restart = "These changed settings need a restart";
    await until(() => sidecar.lines.some(({ msg }) => msg === restart), "they are named");
    expect(sidecar.lines.find(({ msg }) => msg === restart)!.settings).toEqual(
      expect.arrayContaining(["workers", "batch_max"]),
    );

    // Nothing of a wrong key is in the log, whatever it looks like.
    for (const key of ["canary-key", "canary.canary.canary"]) expect((await decide(key)).status).toBe(401);
    expect(await sidecar.stop()).toEqual({ code: 0, signal: null });
    expect(JSON.stringify(sidecar.lines)).not.toContain("canary");
    expect(sidecar.lines.filter(({ msg }) => msg === "Internal error")).toEqual([]);
  });

  test("shows what is wrong with it to the only tenant that there is, and to several only how much", async () => {
    const { sidecar, write } = await start();
    const page = async (key: string) => (await sidecar.send({ port: "admin", path: "/status", key })).text;
    write("modee: observe\n");
    await until(async () => (await page(KEYS.olivia)).includes("config_invalid"), "the refusal is on the page");
    for (const key of [KEYS.olivia, KEYS.otherReviewer]) {
      expect(await page(key)).toContain("has faults (1)");
      expect(await page(key)).not.toContain("modee");
    }
    const alone = settings({ api_keys: API_KEYS.filter((entry) => !("tenant" in entry)) });
    write(alone);
    await until(async () => (await page(KEYS.otherReviewer)).includes("Sign in"), "one tenant is left");
    write("modee: observe\n");
    await until(async () => (await page(KEYS.olivia)).includes("modee"), "the fault is on the page");
    expect(await sidecar.stop()).toEqual({ code: 0, signal: null });
  });

  test("records for each tenant which of its own keys came and went", async () => {
    const { sidecar, write } = await start();
    const kinds = async (key: string): Promise<Body[]> => {
      const { body } = await sidecar.send({ port: "admin", path: "/v1/ledger/entries?limit=1000", key });
      return body.entries
        .map(({ entry }: Body) => entry)
        .filter((entry: Body | undefined) => entry?.kind === "credentials_changed");
    };
    const spare = { ...GUEST, id: "spare", tenant: "other", sha256: sha256("spare-key"), scopes: ["decide"] };
    const renewed = { ...GUEST, sha256: sha256("guest-key-2") };
    write(settings({ api_keys: [...API_KEYS, renewed, spare] }));
    await until(async () => (await kinds(KEYS.otherReviewer)).length === 1, "it is recorded");
    expect((await kinds(KEYS.otherReviewer)).map(({ data }) => data)).toEqual([{ added: ["spare"], removed: [] }]);
    expect((await kinds(KEYS.olivia)).map(({ data }) => data)).toEqual([{ added: ["guest"], removed: ["guest"] }]);
    expect(await sidecar.stop()).toEqual({ code: 0, signal: null });
  });

  test("as Kubernetes changes one, by a link to a folder that is swapped", async () => {
    let version = 0;
    const { sidecar, write, decide } = await start((directory, text) => {
      const folder = `..v${++version}`;
      mkdirSync(join(directory, folder));
      writeFileSync(join(directory, folder, "holdpoint.yaml"), text);
      symlinkSync(folder, join(directory, "..data_tmp"));
      renameSync(join(directory, "..data_tmp"), join(directory, "..data"));
      const path = join(directory, "holdpoint.yaml");
      if (version === 1) symlinkSync(join("..data", "holdpoint.yaml"), path);
      else rmSync(join(directory, `..v${version - 1}`), { recursive: true });
      return path;
    });
    for (let round = 0; round < 3; round += 1) {
      write(settings({ api_keys: API_KEYS }));
      await until(async () => (await decide("guest-key")).status !== 200, "the key is gone");
      write(settings());
      await until(async () => (await decide("guest-key")).status === 200, "the key is back");
    }
    expect(await metricOf(sidecar, "holdpoint_configuration_load_errors_total")).toBe(0);
    expect(await sidecar.stop()).toEqual({ code: 0, signal: null });
  });

  test("and SIGHUP, again and again, lose no request", async () => {
    const { sidecar, write, decide } = await start();
    const answers: Promise<{ readonly status: number; readonly body: Body }>[] = [];
    for (let round = 0; round < 5; round += 1) {
      for (let index = 0; index < 100; index += 1) {
        answers.push(decide(KEYS.bot));
        if (index === 50) sidecar.child.kill("SIGHUP");
      }
      write(settings({ actions: { [`A${round}`]: { mode: "observe" } } }));
      await Promise.all(answers);
    }
    for (const { status, body } of await Promise.all(answers)) {
      expect(status).toBe(200);
      expect(body).toMatchObject({ outcome: "deny", enforced: true, reasons: [{ code: "forbidden_now" }] });
    }
    const reloads = () => sidecar.lines.filter(({ msg }) => msg.startsWith("Reloading configuration")).length;
    await until(() => reloads() >= 1, "it heard");
    expect(sidecar.lines.filter(({ level }) => level >= 50)).toEqual([]);
    expect(await sidecar.stop()).toEqual({ code: 0, signal: null });
  });
});

/** As the sidecar lists settings: in the order of the configuration. */
function byOrder(a: string, b: string): number {
  const order = ["mode", "tenants", "actions", "policy_may_observe", "api_keys", "jwt_issuers", "log_level"];
  return order.indexOf(a) - order.indexOf(b);
}
