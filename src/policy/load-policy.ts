/** A bundle becomes the policy that decides: checked, compiled, named by its digest. */

import { canonicalText, sha256Digest } from "../core/digest.ts";
import { type Domain, readDomain } from "../core/domain.ts";
import { ConfigError, toError } from "../core/errors.ts";
import type { LoadedPolicy } from "../core/ports.ts";
import type { Json } from "../core/types.ts";
import type { Bundle } from "./assemble-bundle.ts";
import { invalid, readBundle } from "./read-bundle.ts";
import { createWasmHost, ModuleRefusedError, type WasmHost, type WasmHostOptions } from "./wasm-host.ts";

export interface LoadPolicy {
  /** Directory, `.tar.gz` or `.wasm`. */
  readonly path: string;
  /** Slash-separated. */
  readonly entrypoint: string;
  readonly host?: Partial<WasmHostOptions>;
}

/** @throws ConfigError("bundle_invalid") or, naming each builtin, ConfigError("bundle_builtin_refused") */
export async function loadPolicy(request: LoadPolicy, now: () => Date = () => new Date()): Promise<LoadedPolicy> {
  const bundle = await readBundle(request.path);
  return policyOf(bundle, request, now());
}

export function policyOf(bundle: Bundle, request: LoadPolicy, loadedAt: Date): LoadedPolicy {
  const host = createHost(bundle, request);
  const entrypoint = host.entrypoints.get(request.entrypoint);
  if (entrypoint === undefined) throw noEntrypoint(request, host);
  return Object.freeze({
    digest: sha256Digest(
      canonicalText({
        data: sha256Digest(bundle.dataText),
        entrypoint: request.entrypoint,
        wasm: sha256Digest(bundle.wasm),
      }),
    ),
    revision: bundle.revision,
    entrypoint: request.entrypoint,
    loadedAt,
    domain: domainOf(bundle, request),
    evaluate: (inputText: string) => host.evaluate(entrypoint, inputText),
  });
}

function domainOf(bundle: Bundle, { path }: LoadPolicy): Domain {
  const domain = readDomain(JSON.parse(bundle.dataText) as Json);
  if ("faults" in domain) throw invalid(path, domain.faults);
  return domain;
}

function createHost(bundle: Bundle, { path, host }: LoadPolicy): WasmHost {
  try {
    return createWasmHost(bundle.wasm, bundle.dataText, host);
  } catch (thrown) {
    throw thrown instanceof ModuleRefusedError ? refusal(path, thrown) : moduleFault(path, thrown);
  }
}

function refusal(path: string, { faults }: ModuleRefusedError): ConfigError {
  if (faults.invalid.length > 0) {
    return new ConfigError(
      "bundle_invalid",
      `Cannot load bundle ${path}: ${faults.invalid.join("; ")}`,
      faults.invalid,
    );
  }
  const named = faults.refusedBuiltins.map((name) => `policy.wasm calls ${name}, which is refused`);
  return new ConfigError("bundle_builtin_refused", `Cannot load bundle ${path}: ${named.join("; ")}`, named);
}

function moduleFault(path: string, thrown: unknown): ConfigError {
  const fault = `policy.wasm: ${toError(thrown).message}`;
  return new ConfigError("bundle_invalid", `Cannot load bundle ${path}: ${fault}`, [fault], { cause: thrown });
}

function noEntrypoint({ path, entrypoint }: LoadPolicy, host: WasmHost): ConfigError {
  const fault = `entrypoint ${entrypoint} is not in policy.wasm, which has ${[...host.entrypoints.keys()].join(", ") || "none"}`;
  return new ConfigError("bundle_invalid", `Cannot load bundle ${path}: ${fault}`, [fault]);
}
