// llhttp, the parser inside Node itself, as the WebAssembly that undici ships; and the little of WebAssembly's own types that it needs.
declare module "undici/lib/llhttp/llhttp_simd-wasm.js" {
  const code: Buffer;
  export default code;
}

declare namespace WebAssembly {
  type Imports = Readonly<Record<string, Readonly<Record<string, (...args: number[]) => number>>>>;
  const Module: new (code: Buffer) => object;
  const Instance: new (module: object, imports: Imports) => { readonly exports: unknown };
}
