// What a gRPC client is told when no component answers: a status and a sentence in the form that it understands, never a page.
import type { IncomingHttpHeaders } from "node:http";
import { refusalWords, type Details, type RefusalKind } from "../pages.ts";

/** Of gRPC's codes: those that an HTTP status stands for (grpc/doc/http-grpc-status-mapping.md). */
const codes = { unknown: 2, resourceExhausted: 8, unimplemented: 12, internal: 13, unavailable: 14 } as const;

function codeOf(status: number): number {
  switch (status) {
    case 400:
      return codes.internal;
    case 404:
      return codes.unimplemented;
    // Not in the table; what gRPC itself says of a message that is too large.
    case 413:
      return codes.resourceExhausted;
    case 429:
    case 502:
    case 503:
    case 504:
      return codes.unavailable;
    default:
      return codes.unknown;
  }
}

/** `application/grpc`, alone or with the encoding of messages; gRPC-Web is something else, and speaks HTTP. */
export function isGrpc(headers: IncomingHttpHeaders): boolean {
  return /^application\/grpc(?:$|[+;])/i.test(headers["content-type"] ?? "");
}

export interface GrpcRefusal {
  /** What it would have been as a page: for logs and figures. */
  readonly status: number;
  readonly trailers: [string, string][];
}

export function grpcRefusal(kind: RefusalKind, requestId: string, details?: Details): GrpcRefusal {
  const { status, sentence } = refusalWords(kind, details);
  const text = requestId === "" ? sentence : `${sentence} (request ${requestId})`;
  return {
    status,
    trailers: [
      ["grpc-status", String(codeOf(status))],
      ["grpc-message", percentEncoded(text)],
    ],
  };
}

/** As gRPC writes messages: visible ASCII but the percent sign, and the rest as bytes of UTF-8. */
function percentEncoded(text: string): string {
  return text.replace(/[^ -$&-~]/gu, (character) =>
    [...Buffer.from(character)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join(""),
  );
}
