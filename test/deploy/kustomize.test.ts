/** The manifests: objects that Kubernetes knows, the walls between agent and sidecar, and that what they configure runs. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  copyFileSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { request } from "node:http";
import { join, relative } from "node:path";
import { Ajv } from "ajv";
import { Redis } from "ioredis";
import { beforeAll, describe, expect, test } from "vitest";
import { parse, parseDocument, stringify } from "yaml";
import { loadConfig } from "../../src/config/load-config.ts";
import { compileBundle, examplesBundle } from "../support/bundles.ts";
import {
  containersOf,
  environmentIn,
  find,
  hasKustomize,
  type Overlay,
  objectsOf,
  podOf,
  render,
  workloadsOf,
} from "../support/kustomize.ts";
import { runCommand, startProcess, temporaryDirectory } from "../support/process.ts";
import { refund } from "../support/proposals.ts";
import { freePorts, startRedis, until } from "../support/redis.ts";
import { API_KEYS, type Body } from "../support/sidecar.ts";
import { projectRoot, redisServerPath, vectorsPath } from "../support/tools.ts";

const OVERLAYS: readonly Overlay[] = ["observe", "enforce"];
const SOCKET_FOLDER = "/run/holdpoint";
const CONFIG_FOLDER = "/etc/holdpoint";
/** What a cluster would put in. */
const VALUES = { password: "3f9a", "metadata.name": "agent-5d8f7" };

const text: Partial<Record<Overlay, string>> = {};
const objects: Partial<Record<Overlay, Body[]>> = {};
const of = (overlay: Overlay) => objects[overlay]!;

/** The pods that run Holdpoint, by the ConfigMap that configures each. */
const HOLDPOINTS = [
  ["agent", "holdpoint-sidecar"],
  ["holdpoint-control", "holdpoint-control"],
] as const;

const configText = (overlay: Overlay, name: string): string => find(of(overlay), "ConfigMap", name).data["config.yaml"];

const podNamed = (name: string, overlay: Overlay = "enforce"): Body => podOf(find(of(overlay), "Deployment", name));
const holdpointIn = (pod: Body): Body => containersOf(pod).find(({ name }) => name === "holdpoint");
const mountsOf = (container: Body): string[] => (container.volumeMounts ?? []).map((mount: Body) => mount.name);

const suite = describe.runIf(hasKustomize());

suite("deploy/kustomize", () => {
  beforeAll(() => {
    examplesBundle();
    for (const overlay of OVERLAYS) {
      text[overlay] = render(overlay);
      objects[overlay] = objectsOf(text[overlay]);
    }
  }, 600_000);

  const vectors = vectorsPath();

  const validator = () => {
    const schema = JSON.parse(readFileSync(`${vectors}/k8s/kubernetes-subset.strict.schema.json`, "utf8"));
    const known = new Set(
      schema.allOf.map(({ if: { properties } }: Body) => `${properties.apiVersion.const} ${properties.kind.const}`),
    );
    const validate = new Ajv({ strict: false, validateFormats: false, allErrors: true }).compile(schema);
    return (object: Body): unknown =>
      !known.has(`${object.apiVersion} ${object.kind}`)
        ? `unknown: ${object.apiVersion} ${object.kind}`
        : validate(object)
          ? undefined
          : validate.errors;
  };

  describe.runIf(vectors !== undefined)("Kubernetes' own schema", () => {
    test.each(OVERLAYS)("takes every object of %s", (overlay) => {
      const faultsOf = validator();
      const faults = of(overlay).map((object) => [object.kind, object.metadata.name, faultsOf(object)]);
      expect(faults.filter(([, , fault]) => fault !== undefined)).toEqual([]);
      expect(faults.length).toBeGreaterThan(15);
    });

    test("refuses a member that no kind has, however deep", () => {
      const faultsOf = validator();
      const deployment = structuredClone(find(of("enforce"), "Deployment", "agent"));
      podOf(deployment).initContainers[0].securityContext.readOnlyRootFileSystem = true;
      expect(faultsOf(deployment)).toMatchObject([
        { params: { additionalProperty: "readOnlyRootFileSystem" } },
        ...new Array((faultsOf(deployment) as unknown[]).length - 1).fill({}),
      ]);
    });
  });

  test("the overlays differ in the mode and in nothing else", () => {
    expect(text.observe).not.toBe(text.enforce);
    expect(text.observe!.replaceAll("mode: observe", "mode: enforce")).toBe(text.enforce);
    for (const overlay of OVERLAYS) {
      expect(HOLDPOINTS.map(([, map]) => parse(configText(overlay, map)).mode)).toEqual([overlay, overlay]);
    }
  });

  test("names no namespace but its own, and nothing twice", () => {
    const namespaced = of("enforce").filter(({ kind }) => kind !== "Namespace");
    expect(new Set(namespaced.map(({ metadata }) => metadata.namespace))).toEqual(new Set(["holdpoint"]));
    const names = namespaced.map(({ kind, metadata }) => `${kind} ${metadata.name}`);
    expect(names.length).toBe(new Set(names).size);
  });

  test("every image has a tag and none is called latest", () => {
    const images = workloadsOf(of("enforce")).flatMap((workload) => containersOf(podOf(workload)).map((c) => c.image));
    expect(images.length).toBe(4);
    for (const image of images) expect(image).toMatch(/^[^:]+\/[^:]+:[0-9][^:]*$/);
  });

  describe("deploy/render.sh", () => {
    const run = (...args: string[]) =>
      spawnSync(join(projectRoot, "deploy", "render.sh"), args, { cwd: projectRoot, encoding: "utf8" });

    test("refuses an overlay that does not exist, and names those that do", () => {
      const { status, stderr } = run("../base", examplesBundle(), join(temporaryDirectory(), "out.yaml"));
      expect(status).toBe(2);
      expect(stderr).toContain("OVERLAY=enforce or observe");
    });

    test("refuses a bundle that no ConfigMap can hold", () => {
      const bundle = join(temporaryDirectory(), "bundle.tar.gz");
      writeFileSync(bundle, Buffer.alloc(1_048_577));
      const { status, stderr } = run("enforce", bundle, `${bundle}.yaml`);
      expect(status).toBe(1);
      expect(stderr).toContain("1048577 bytes, and a ConfigMap holds 1048576");
    });

    /** Into a folder of its own, one renderer at a time. */
    const make = (...args: string[]) =>
      spawnSync("flock", [join(projectRoot, ".build", "manifests.lock"), "make", "-s", "manifests", ...args], {
        cwd: projectRoot,
        encoding: "utf8",
      });

    test("renders observe where no overlay is named, and says what is not yet the user's own", () => {
      const { status, stderr } = make();
      expect([status, readFileSync(join(projectRoot, ".build", "manifests-observe.yaml"), "utf8")]).toEqual([
        0,
        text.observe,
      ]);
      const warnings = stderr.split("\n").filter((line) => line.includes("warning: "));
      expect(warnings).toMatchObject(
        [/still at registry.example.com/, /still the example/, /nobody can grant/, /the policy is the examples'/].map(
          (words) => expect.stringMatching(words),
        ),
      );
    });

    test("packs the user's own bundle, and then says nothing of the examples'", () => {
      const bundle = join(temporaryDirectory(), "own.tar.gz");
      copyFileSync(compileBundle('decision := {"outcome": "allow", "reasons": []}'), bundle);
      try {
        const { status, stderr } = make(`BUNDLE=${bundle}`);
        expect([status, stderr.includes("the examples'")]).toEqual([0, false]);
        const own = objectsOf(readFileSync(join(projectRoot, ".build", "manifests-observe.yaml"), "utf8"));
        const { binaryData } = find(own, "ConfigMap", "holdpoint-policy");
        expect(Buffer.from(binaryData["bundle.tar.gz"], "base64").equals(readFileSync(bundle))).toBe(true);
      } finally {
        make();
      }
    });

    test("puts in the policy that make policy compiled", () => {
      const { binaryData } = find(of("enforce"), "ConfigMap", "holdpoint-policy");
      expect(Buffer.from(binaryData["bundle.tar.gz"], "base64").equals(readFileSync(examplesBundle()))).toBe(true);
    });
  });

  describe("components/persistent-ledger", () => {
    let persistent: Body[] = [];
    beforeAll(() => {
      const folder = temporaryDirectory();
      const place = (path: string) => relative(realpathSync(folder), join(projectRoot, "deploy", "kustomize", path));
      const kustomization = {
        apiVersion: "kustomize.config.k8s.io/v1beta1",
        kind: "Kustomization",
        resources: [place("overlays/enforce")],
        components: [place("components/persistent-ledger")],
        namespace: "holdpoint",
      };
      writeFileSync(join(folder, "kustomization.yaml"), stringify(kustomization));
      const path = spawnSync(join(projectRoot, ".tools", "kustomize.sh"), { encoding: "utf8" }).stdout.trim();
      const { stdout, stderr } = spawnSync(path, ["build", folder], { encoding: "utf8" });
      if (stdout === "") throw new Error(stderr);
      persistent = objectsOf(stdout);
    });

    test.runIf(vectors !== undefined)("is what Kubernetes takes", () => {
      const faultsOf = validator();
      const faults = persistent.map((object) => [object.kind, object.metadata.name, faultsOf(object)]);
      expect(faults.filter(([, , fault]) => fault !== undefined)).toEqual([]);
    });

    test.each(["agent", "holdpoint-control"])(
      "gives each pod of %s a claim of its own that stays, and changes nothing else about it",
      (name) => {
        expect(persistent.filter(({ kind }) => kind === "Deployment")).toEqual([]);
        const { spec } = find(persistent, "StatefulSet", name);
        find(persistent, "Service", spec.serviceName);
        expect(spec).toMatchObject({
          persistentVolumeClaimRetentionPolicy: { whenDeleted: "Retain", whenScaled: "Retain" },
          volumeClaimTemplates: [{ metadata: { name: "ledger" }, spec: { accessModes: ["ReadWriteOnce"] } }],
        });
        const { spec: before } = find(of("enforce"), "Deployment", name);
        expect(spec.replicas).toBe(before.replicas);
        const volumes = before.template.spec.volumes.filter((volume: Body) => volume.name !== "ledger");
        expect(spec.template).toEqual({ ...before.template, spec: { ...before.template.spec, volumes } });
        expect(volumes).toHaveLength(before.template.spec.volumes.length - 1);
      },
    );
  });

  test("Redis gets its password on standard input, and no argument has it", async () => {
    const [redis] = containersOf(podOf(find(of("enforce"), "StatefulSet", "holdpoint-redis")));
    expect(JSON.stringify([redis.command, redis.args])).not.toContain("$(");
    const folder = temporaryDirectory();
    const [port = 0] = await freePorts(1);
    writeFileSync(join(folder, "redis.conf"), `port ${port}\nbind 127.0.0.1\nsave ""\n`);
    const script = redis.args[0].replace("/etc/redis", folder).replace("redis-server", redisServerPath());
    const server = spawn(redis.command[0], [...redis.command.slice(1), script], {
      cwd: folder,
      env: { PATH: process.env.PATH, REDIS_PASSWORD: VALUES.password },
      stdio: "ignore",
    });
    const client = new Redis({ port, password: VALUES.password, retryStrategy: () => 20, maxRetriesPerRequest: null });
    client.on("error", () => {});
    try {
      expect(await client.config("GET", "requirepass")).toEqual(["requirepass", VALUES.password]);
      expect(readFileSync(`/proc/${server.pid}/cmdline`, "utf8")).not.toContain(VALUES.password);
    } finally {
      client.disconnect();
      server.kill("SIGKILL");
      await once(server, "exit");
    }
  });

  describe("every container", () => {
    test("is not root, writes to no root filesystem, and can gain nothing", () => {
      const workloads = workloadsOf(of("enforce"));
      expect(workloads.map(({ metadata }) => metadata.name).sort()).toEqual([
        "agent",
        "holdpoint-control",
        "holdpoint-redis",
      ]);
      for (const pod of workloads.map(podOf)) {
        expect(pod.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } });
        expect(pod).toMatchObject({
          automountServiceAccountToken: false,
          shareProcessNamespace: false,
          serviceAccountName: expect.any(String),
        });
        expect([pod.hostNetwork, pod.hostPID, pod.hostIPC]).toEqual([undefined, undefined, undefined]);
        for (const container of containersOf(pod)) {
          expect(container.securityContext).toEqual({
            runAsUser: expect.any(Number),
            runAsGroup: expect.any(Number),
            runAsNonRoot: true,
            readOnlyRootFilesystem: true,
            allowPrivilegeEscalation: false,
            capabilities: { drop: ["ALL"] },
          });
          expect(container.securityContext.runAsUser).toBeGreaterThan(0);
          expect(container.resources).toMatchObject({
            requests: { cpu: expect.anything(), memory: expect.anything() },
            limits: { cpu: expect.anything(), memory: expect.anything() },
          });
        }
      }
    });

    test("names a Service, ServiceAccount and ConfigMap that exist, and a port that it has", () => {
      const all = of("enforce");
      for (const workload of workloadsOf(all)) {
        const pod = podOf(workload);
        find(all, "ServiceAccount", pod.serviceAccountName);
        for (const volume of pod.volumes ?? []) {
          if (volume.configMap !== undefined) find(all, "ConfigMap", volume.configMap.name);
        }
        const volumes = [...(pod.volumes ?? []), ...(workload.spec.volumeClaimTemplates ?? [])];
        const names = volumes.map((volume: Body) => volume.name ?? volume.metadata.name);
        for (const container of containersOf(pod)) expect(names).toEqual(expect.arrayContaining(mountsOf(container)));
        expect(workload.spec.template.metadata.labels).toMatchObject(workload.spec.selector.matchLabels);
      }
      for (const service of all.filter(({ kind }) => kind === "Service")) {
        const workload = workloadsOf(all).find(
          ({ spec }) =>
            spec.template.metadata.labels["app.kubernetes.io/name"] === service.spec.selector["app.kubernetes.io/name"],
        )!;
        const ports = containersOf(podOf(workload)).flatMap((container) => container.ports ?? []);
        for (const { targetPort, port } of service.spec.ports) {
          expect(ports).toContainEqual({ name: targetPort, containerPort: port });
        }
      }
    });
  });

  describe("the agent's pod", () => {
    test("starts Holdpoint before the agent and ends it after: a native sidecar", () => {
      const pod = podNamed("agent");
      expect(pod.initContainers.map(({ name, restartPolicy }: Body) => [name, restartPolicy])).toEqual([
        ["holdpoint", "Always"],
      ]);
      expect(pod.containers.map(({ name }: Body) => name)).toEqual(["agent"]);
      expect(holdpointIn(pod).startupProbe).toBeDefined();
    });

    test("shares the socket between the two and nothing else", () => {
      const pod = podNamed("agent");
      const [agent] = pod.containers;
      expect(mountsOf(agent)).toEqual(["socket"]);
      expect(agent.volumeMounts).toEqual([{ name: "socket", mountPath: SOCKET_FOLDER, readOnly: true }]);
      expect(holdpointIn(pod).volumeMounts).toContainEqual({ name: "socket", mountPath: SOCKET_FOLDER });
      expect(mountsOf(holdpointIn(pod)).sort()).toEqual(["config", "keys", "ledger", "policy", "socket"]);
      // Two users, and the pod's group: that of everything in an emptyDir, the socket included.
      expect(agent.securityContext.runAsUser).not.toBe(holdpointIn(pod).securityContext.runAsUser);
      expect(agent.securityContext.runAsGroup).not.toBe(holdpointIn(pod).securityContext.runAsGroup);
      expect(pod.securityContext.fsGroup).toBeGreaterThan(0);
      expect(parse(configText("enforce", "holdpoint-sidecar")).listen).toMatch(`unix:${SOCKET_FOLDER}/`);
    });

    test("keeps the store's password and the keys from the agent", () => {
      const pod = podNamed("agent");
      const secrets = (pod.volumes as Body[]).filter(({ secret }) => secret !== undefined);
      expect(secrets.map(({ name, secret }) => [name, secret.secretName, secret.defaultMode])).toEqual([
        ["keys", "holdpoint-keys", 0o440],
      ]);
      expect(JSON.stringify(pod.containers)).not.toMatch(/secret/i);
      expect(holdpointIn(pod).volumeMounts).toContainEqual({
        name: "keys",
        mountPath: parse(configText("enforce", "holdpoint-sidecar")).keys_dir,
        readOnly: true,
      });
    });

    test("bounds the ledger", () => {
      const ledger = podNamed("agent").volumes.find(({ name }: Body) => name === "ledger");
      expect(ledger.emptyDir.sizeLimit).toMatch(/^[0-9]+Gi$/);
    });
  });

  describe.each(HOLDPOINTS)("Holdpoint in %s", (deployment, map) => {
    test.each(OVERLAYS)("has a configuration without faults (%s)", (overlay) => {
      const container = holdpointIn(podNamed(deployment, overlay));
      const path = join(temporaryDirectory(), "config.yaml");
      writeFileSync(path, configText(overlay, map));
      const config = loadConfig(path, environmentIn(container, VALUES));
      expect(config).toMatchObject({
        mode: overlay,
        store: "redis://:3f9a@holdpoint-redis:6379",
        issuer: "agent-5d8f7",
        admin_auth: ["api_key"],
        admin_listen: "0.0.0.0:8283",
        data_dir: "/var/lib/holdpoint",
      });
      expect(container.args).toEqual(["serve", "--config", `${CONFIG_FOLDER}/config.yaml`]);
    });

    test("mounts what the configuration names, as folders that follow a changed ConfigMap", () => {
      const container = holdpointIn(podNamed(deployment));
      const mounts = new Map<string, Body>(container.volumeMounts.map((mount: Body) => [mount.mountPath, mount]));
      const config = parse(configText("enforce", map));
      expect(mounts.get(CONFIG_FOLDER)).toEqual({ name: "config", mountPath: CONFIG_FOLDER, readOnly: true });
      expect(mounts.get(config.bundle.replace("/bundle.tar.gz", ""))).toMatchObject({ name: "policy", readOnly: true });
      expect(mounts.get(config.data_dir)).toEqual({ name: "ledger", mountPath: config.data_dir });
      expect(container.volumeMounts.filter((mount: Body) => mount.subPath !== undefined)).toEqual([]);
      expect(find(of("enforce"), "ConfigMap", map).metadata.name).toBe(map);
    });

    test("is probed where it serves", () => {
      const container = holdpointIn(podNamed(deployment));
      const port = Number(parse(configText("enforce", map)).admin_listen.split(":").at(-1));
      expect(container.ports).toEqual([{ name: "admin", containerPort: port }]);
      expect(["startupProbe", "readinessProbe", "livenessProbe"].map((probe) => container[probe].httpGet)).toEqual([
        { path: "/healthz", port: "admin" },
        { path: "/readyz", port: "admin" },
        { path: "/healthz", port: "admin" },
      ]);
      const { annotations } = find(of("enforce"), "Deployment", deployment).spec.template.metadata;
      expect(annotations).toEqual({
        "prometheus.io/scrape": "true",
        "prometheus.io/port": String(port),
        "prometheus.io/path": "/metrics",
      });
    });

    test("has time to drain", () => {
      const { drain_seconds } = parse(configText("enforce", map));
      expect(podNamed(deployment).terminationGracePeriodSeconds).toBeGreaterThan(drain_seconds + 10);
    });

    test("has no secret in its configuration: no key, no hash of one, no password", () => {
      const config = parseDocument(configText("enforce", map)).toJS();
      expect(config.api_keys).toEqual([]);
      expect(Object.keys(config)).not.toContain("store");
    });
  });

  test("renders no Secret", () => {
    expect(of("enforce").filter(({ kind }) => kind === "Secret")).toEqual([]);
  });

  describe("NetworkPolicy", () => {
    const policyOf = (name: string): Body => find(of("enforce"), "NetworkPolicy", name).spec;
    const peersOf = (rules: readonly Body[], key: "from" | "to"): unknown[] =>
      rules.flatMap((rule) =>
        rule[key].flatMap((peer: Body) =>
          rule.ports.map(({ port }: Body) => [
            Object.values((peer.podSelector ?? peer.namespaceSelector).matchLabels)[0],
            port,
          ]),
        ),
      );

    test("stands before every workload, in both directions", () => {
      for (const { metadata, spec } of workloadsOf(of("enforce"))) {
        expect(policyOf(metadata.name)).toMatchObject({
          podSelector: spec.selector,
          policyTypes: ["Ingress", "Egress"],
        });
      }
    });

    test("lets monitoring to the sidecar, reviewers to control, and those two to Redis", () => {
      const ingress = ["agent", "holdpoint-control", "holdpoint-redis"].map((name) =>
        peersOf(policyOf(name).ingress, "from"),
      );
      expect(ingress).toEqual([
        [["monitoring", 8283]],
        [
          ["ingress-nginx", 8283],
          ["monitoring", 8283],
        ],
        [
          ["agent", 6379],
          ["holdpoint-control", 6379],
        ],
      ]);
      const egress = [
        ["kube-system", 53],
        ["kube-system", 53],
        ["holdpoint-redis", 6379],
      ];
      expect(peersOf(policyOf("agent").egress, "to")).toEqual(egress);
      expect(peersOf(policyOf("holdpoint-control").egress, "to")).toEqual(egress);
      expect(policyOf("holdpoint-redis").egress).toBeUndefined();
    });
  });

  test("control has two replicas, one of which stays", () => {
    const control = find(of("enforce"), "Deployment", "holdpoint-control");
    const budget = find(of("enforce"), "PodDisruptionBudget", "holdpoint-control");
    expect(control.spec.replicas).toBe(2);
    expect(budget.spec).toEqual({ minAvailable: 1, selector: control.spec.selector });
  });

  describe("what the manifests configure", () => {
    /** The ConfigMap as kubelet mounts it: files behind a link that is swapped as one. */
    function mount(folder: string, version: string, name: string, content: string | undefined): void {
      const data = join(folder, `..${version}`);
      mkdirSync(data, { recursive: true });
      if (content === undefined) copyFileSync(examplesBundle(), join(data, name));
      else writeFileSync(join(data, name), content);
      symlinkSync(`..${version}`, join(folder, "..data_tmp"));
      renameSync(join(folder, "..data_tmp"), join(folder, "..data"));
      if (version === "1") symlinkSync(join("..data", name), join(folder, name));
    }

    const propose = (socketPath: string, proposal: unknown): Promise<Body> =>
      new Promise((resolve, reject) => {
        const outgoing = request({ socketPath, path: "/v1/decisions", method: "POST" }, (response) => {
          let answer = "";
          response.setEncoding("utf8");
          response.on("data", (chunk: string) => {
            answer += chunk;
          });
          response.on("end", () => resolve(JSON.parse(answer)));
        });
        outgoing.setHeader("content-type", "application/json");
        outgoing.on("error", reject);
        outgoing.end(JSON.stringify(proposal));
      });

    test("runs: an agent asks over the socket, a reviewer grants at control, and a changed ConfigMap switches the mode", async () => {
      const folder = temporaryDirectory();
      // The paths of the pod, below a folder of this test; longer ones first, as one is the beginning of the other.
      const remap = (config: string) =>
        config
          .replaceAll(/\/(run|etc|var\/lib)\/holdpoint/g, (path) => folder + path)
          .replaceAll("0.0.0.0:8283", "127.0.0.1:0")
          .replaceAll("127.0.0.1:8282", "127.0.0.1:0");
      const config = join(folder, "etc", "holdpoint");
      const controlConfig = join(folder, "etc", "control");
      mount(config, "1", "config.yaml", remap(configText("enforce", "holdpoint-sidecar")));
      mount(controlConfig, "1", "config.yaml", remap(configText("enforce", "holdpoint-control")));
      mount(join(folder, "etc", "holdpoint-policy"), "1", "bundle.tar.gz", undefined);
      mkdirSync(join(folder, "run", "holdpoint"), { recursive: true });
      await runCommand(["keys", "rotate"], { keys_dir: join(folder, "etc", "holdpoint-keys") });

      const [port = 0] = await freePorts(1);
      const map = of("enforce").find(({ data }) => data?.["redis.conf"] !== undefined);
      const redis = await startRedis({
        port,
        configuration: map.data["redis.conf"].replace(/^dir .*$/m, ""), // the test's own folder instead
        args: ["--port", String(port), "--bind", "127.0.0.1"],
      });
      try {
        await redis.admin.config("SET", "requirepass", VALUES.password);
        const settings = ["appendonly", "appendfsync", "maxmemory-policy", "save"];
        const answers = await Promise.all(settings.map((name) => redis.admin.config("GET", name)));
        expect(Object.fromEntries(answers as [string, string][])).toEqual({
          appendonly: "yes",
          appendfsync: "always",
          "maxmemory-policy": "noeviction",
          save: "",
        });

        const serve = (deployment: string, path: string, more: Record<string, unknown>) => {
          const environment = environmentIn(holdpointIn(podNamed(deployment)), VALUES);
          const store = environment.HOLDPOINT_STORE!.replace("holdpoint-redis:6379", `127.0.0.1:${port}`);
          // What the file says is not overruled by what these tests usually say.
          const fromFile = { listen: undefined, admin_listen: undefined, api_keys: undefined };
          return startProcess({ ...fromFile, store, issuer: environment.HOLDPOINT_ISSUER, ...more }, [
            "serve",
            "--config",
            join(path, "config.yaml"),
          ]);
        };
        const sidecar = await serve("agent", config, {});
        const control = await serve("holdpoint-control", controlConfig, { api_keys: API_KEYS });
        const socket = join(folder, "run", "holdpoint", "decide.sock");
        expect(statSync(socket).mode & 0o777).toBe(0o660);
        const ready = await sidecar.send({ port: "admin", path: "/readyz" });
        expect(ready).toMatchObject({ status: 200, body: { checks: { policy: "ok", ledger: "ok", store: "ok" } } });
        // Nobody has a key for the sidecar's own admin port.
        expect((await sidecar.send({ port: "admin", path: "/v1/approvals" })).status).toBe(401);

        const proposal = refund(200);
        const asked = await propose(socket, proposal);
        expect(asked).toMatchObject({ outcome: "escalate" });
        expect((await control.review(asked.approval.id, "grant")).status).toBe(200);
        const granted = await propose(socket, proposal);
        expect(granted).toMatchObject({ outcome: "allow", permit: expect.stringMatching(/^ey/) });

        const forbidden = { ...refund(1), action: { name: "db.drop_table", arguments: {} } };
        expect(await propose(socket, forbidden)).toMatchObject({ outcome: "deny", mode: "enforce" });
        mount(config, "2", "config.yaml", remap(configText("observe", "holdpoint-sidecar")));
        let round = 0;
        await until(async () => {
          round += 1;
          const answer = await propose(socket, { ...forbidden, id: `${forbidden.id}-${round}` });
          return answer.mode === "observe" && answer.outcome === "allow";
        }, "the sidecar observes");
        expect((await Promise.all([sidecar.stop(), control.stop()])).map(({ code }) => code)).toEqual([0, 0]);
      } finally {
        await redis.dispose();
      }
    });
  });
});
