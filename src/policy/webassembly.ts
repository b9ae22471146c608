/** The part of the WebAssembly API that the host uses. Node has it; the types for it come with the DOM's, which we do not load. */

export interface LinearMemory {
  readonly buffer: ArrayBuffer;
}

export type ImportFunction = (...args: number[]) => number | undefined;
export type ModuleImports = Readonly<Record<string, LinearMemory | ImportFunction>>;
export type ModuleExports = Readonly<Record<string, unknown>>;
export interface CompiledModule {
  readonly __compiled?: never;
}

interface WebAssemblyApi {
  readonly Module: new (bytes: Uint8Array) => CompiledModule;
  readonly Instance: new (
    module: CompiledModule,
    imports: { readonly env: ModuleImports },
  ) => { readonly exports: ModuleExports };
  readonly Memory: new (limits: { initial: number; maximum: number }) => LinearMemory;
}

export const WebAssemblyApi = (globalThis as unknown as { readonly WebAssembly: WebAssemblyApi }).WebAssembly;
