/** The manifests of deploy/kustomize, as `make manifests` renders them with the real kustomize. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import type { Body } from "./sidecar.ts";
import { projectRoot } from "./tools.ts";

export type Overlay = "observe" | "enforce";

/** Whether kustomize is here or can be built; said in one line where not. On CI its absence is a failure, not a choice. */
export function hasKustomize(): boolean {
  try {
    execFileSync(`${projectRoot}.tools/kustomize.sh`, { stdio: ["ignore", "ignore", "pipe"] });
    return true;
  } catch (error) {
    if (process.env.CI !== undefined) throw error;
    console.warn("kustomize: neither found nor built; the tests of the manifests are skipped");
    return false;
  }
}

/** One renderer at a time: they share the place where the policy is put. */
export function render(overlay: Overlay): string {
  const build = join(projectRoot, ".build");
  mkdirSync(build, { recursive: true });
  const make = ["make", "-s", "manifests", `OVERLAY=${overlay}`];
  execFileSync("flock", [join(build, "manifests.lock"), ...make], {
    cwd: projectRoot,
    stdio: ["ignore", "ignore", "pipe"],
  });
  return readFileSync(join(build, `manifests-${overlay}.yaml`), "utf8");
}

export function objectsOf(text: string): Body[] {
  return parseAllDocuments(text).map((document) => document.toJS());
}

export function find(objects: readonly Body[], kind: string, name: string): Body {
  const found = objects.find((object) => object.kind === kind && object.metadata.name === name);
  if (found === undefined) throw new Error(`No ${kind} ${name} among the manifests`);
  return found;
}

/** Deployments and StatefulSets. */
export function workloadsOf(objects: readonly Body[]): Body[] {
  return objects.filter((object) => object.spec?.template !== undefined);
}

export function podOf(workload: Body): Body {
  return workload.spec.template.spec;
}

export function containersOf(pod: Body): Body[] {
  return [...(pod.initContainers ?? []), ...pod.containers];
}

/** What the container finds in its environment; the values of secrets and of the pod's own fields as the test says. */
export function environmentIn(container: Body, values: Readonly<Record<string, string>>): Record<string, string> {
  const environment: Record<string, string> = {};
  for (const { name, value, valueFrom } of container.env ?? []) {
    const place = valueFrom?.secretKeyRef?.key ?? valueFrom?.fieldRef?.fieldPath;
    const text = value ?? values[place];
    if (text === undefined) throw new Error(`${container.name}: nothing known for ${name}`);
    // Kubernetes puts in what stands before it in the list.
    environment[name] = text.replace(/\$\(([A-Z_]+)\)/g, (whole: string, other: string) => environment[other] ?? whole);
  }
  return environment;
}
