// Node's HTTP/2, loaded with the first client or instance that speaks it: it takes 5 MB of each router, and many never meet one.

let loaded: typeof import("node:http2") | undefined;

export function nodeHttp2(): typeof import("node:http2") {
  return (loaded ??= process.getBuiltinModule("node:http2"));
}

/** RFC 9113, section 7. */
export const codes = { noError: 0, internalError: 2, refusedStream: 7, cancel: 8, enhanceYourCalm: 11 } as const;

/** Of a HEADERS or DATA frame (RFC 9113, 6.1 and 6.2): it is the last one. */
export const endStream = 1;
