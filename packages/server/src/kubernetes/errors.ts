// What may come of a call to a Kubernetes API. It refused, nobody answered (or it does not know us), or it said something that is not the protocol: callers treat the three differently.

/** A field that an apply wanted to set, and who owns it. */
export interface Conflict {
  /** As in `.spec.replicas`. */
  readonly field: string;
  readonly manager: string;
}

export interface StatusCause {
  readonly reason?: string;
  readonly message?: string;
  readonly field?: string;
}

/** `details` of a v1.Status. */
export interface StatusDetails {
  readonly name?: string;
  readonly group?: string;
  readonly kind?: string;
  readonly uid?: string;
  readonly causes?: readonly StatusCause[];
  readonly retryAfterSeconds?: number;
}

/** A v1.Status, as far as it was understood. https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/ */
export interface Status {
  readonly status?: string;
  readonly code?: number;
  readonly reason?: string;
  readonly message?: string;
  readonly details?: StatusDetails;
}

/** The API answered and refused. `message` is what it says, at most 2,000 characters. */
export class KubeError extends Error {
  override readonly name = "KubeError";
  /** HTTP's. */
  readonly status: number;
  /** As in `NotFound`, `AlreadyExists`, `Conflict`, `Forbidden`, `Invalid`, `Expired`; empty when it says none. */
  readonly reason: string;
  readonly details: StatusDetails;
  /** Of an apply: what others own. Empty for everything else. */
  readonly conflicts: readonly Conflict[];
  /** ms after which the API wants to be asked again, when it says so. */
  readonly retryAfter: number | undefined;

  constructor(status: number, said: Status, retryAfter?: number) {
    super((said.message ?? "").slice(0, 2_000) || `status ${String(status)}`);
    this.status = status;
    this.reason = said.reason ?? "";
    this.details = said.details ?? {};
    this.conflicts = status === 409 ? conflictsIn(this.details) : [];
    this.retryAfter = retryAfter ?? (this.details.retryAfterSeconds === undefined ? undefined : this.details.retryAfterSeconds * 1_000);
  }
}

export type UnreachableCode =
  /** Nobody listens there. */
  | "refused"
  | "timed_out"
  | "name_not_found"
  /** No way there. */
  | "no_route"
  /** The connection broke in the middle. */
  | "cut"
  | "certificate_not_trusted"
  /** Or it is not valid yet. */
  | "certificate_expired"
  /** It is of another host. */
  | "certificate_wrong_name"
  /** TLS failed in another way: the server speaks none, or takes nothing that we offer. */
  | "tls_failed"
  /** It does not know who we are: 401, or TLS refused our certificate. */
  | "unauthorized"
  | "unreachable";

/** Nobody answered, or nobody that lets us in. All but the certificates and `unauthorized` are worth a retry. */
export class KubeUnreachable extends Error {
  override readonly name = "KubeUnreachable";
  /** As in `https://10.0.0.1:6443`. */
  readonly server: string;
  readonly code: UnreachableCode;

  constructor(server: string, code: UnreachableCode, cause?: unknown) {
    super(`${server} ${sentenceOf(code, cause)}`, { cause });
    this.server = server;
    this.code = code;
  }
}

/** An answer that is not what the API promises: not JSON, longer than its bound, an end in the middle of an object. */
export class KubeProtocolError extends Error {
  override readonly name = "KubeProtocolError";
}

/** For the cause of a KubeUnreachable. */
export class KubeTimeout extends Error {
  override readonly name = "KubeTimeout";
  readonly code = "TIMEOUT";
}

/** What broke a connection, in words of KubeUnreachable. */
export function unreachable(server: string, error: unknown): KubeUnreachable {
  return error instanceof KubeUnreachable ? error : new KubeUnreachable(server, codeOf(error), error);
}

/** For what may be refused with one of these: undefined in its place. */
export function ignoring(...statuses: readonly number[]): (error: unknown) => undefined {
  return (error) => {
    if (error instanceof KubeError && statuses.includes(error.status)) return undefined;
    throw error;
  };
}

/** The continue token of a list, or the version that a watch should begin at, is too old for the server. */
export function isExpired(error: unknown): boolean {
  return error instanceof KubeError && error.status === 410;
}

/** What the body of a refusal says; a proxy in between says anything. */
export function statusIn(text: string): Status {
  try {
    const said: unknown = JSON.parse(text);
    if (typeof said === "object" && said !== null) return cleaned(said as Record<string, unknown>);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  return { message: text.trim().slice(0, 2_000) };
}

function cleaned(said: Readonly<Record<string, unknown>>): Status {
  const { status, code, reason, message, details } = said;
  return {
    ...(typeof status === "string" ? { status } : {}),
    ...(typeof code === "number" ? { code } : {}),
    ...(typeof reason === "string" ? { reason } : {}),
    ...(typeof message === "string" ? { message } : {}),
    ...(typeof details === "object" && details !== null ? { details: cleanedDetails(details as Record<string, unknown>) } : {}),
  };
}

function cleanedDetails(said: Readonly<Record<string, unknown>>): StatusDetails {
  const { causes, retryAfterSeconds } = said;
  const text = (name: "name" | "group" | "kind" | "uid"): Partial<StatusDetails> =>
    typeof said[name] === "string" ? { [name]: said[name] } : {};
  return {
    ...text("name"),
    ...text("group"),
    ...text("kind"),
    ...text("uid"),
    ...(Array.isArray(causes) ? { causes: causes.map(cleanedCause) } : {}),
    ...(typeof retryAfterSeconds === "number" && retryAfterSeconds > 0 ? { retryAfterSeconds } : {}),
  };
}

function cleanedCause(said: unknown): StatusCause {
  if (typeof said !== "object" || said === null) return {};
  const { reason, message, field } = said as Record<string, unknown>;
  return {
    ...(typeof reason === "string" ? { reason } : {}),
    ...(typeof message === "string" ? { message } : {}),
    ...(typeof field === "string" ? { field } : {}),
  };
}

/** `conflict with "kubectl" using apps/v1`, with the name quoted as Go does. */
function conflictsIn(details: StatusDetails): Conflict[] {
  return (details.causes ?? [])
    .filter((cause) => cause.reason === "FieldManagerConflict")
    .map(({ field = "", message = "" }) => ({ field, manager: /^conflicts? with "((?:[^"\\]|\\.)*)"/.exec(message)?.[1] ?? message }));
}

const codes: Readonly<Record<string, UnreachableCode>> = {
  ECONNREFUSED: "refused",
  TIMEOUT: "timed_out",
  ETIMEDOUT: "timed_out",
  UND_ERR_CONNECT_TIMEOUT: "timed_out",
  UND_ERR_HEADERS_TIMEOUT: "timed_out",
  UND_ERR_BODY_TIMEOUT: "timed_out",
  ENOTFOUND: "name_not_found",
  EAI_AGAIN: "name_not_found",
  EHOSTUNREACH: "no_route",
  ENETUNREACH: "no_route",
  ECONNRESET: "cut",
  EPIPE: "cut",
  UND_ERR_SOCKET: "cut",
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: "cut",
  CERT_HAS_EXPIRED: "certificate_expired",
  CERT_NOT_YET_VALID: "certificate_expired",
  ERR_TLS_CERT_ALTNAME_INVALID: "certificate_wrong_name",
  DEPTH_ZERO_SELF_SIGNED_CERT: "certificate_not_trusted",
  SELF_SIGNED_CERT_IN_CHAIN: "certificate_not_trusted",
  UNABLE_TO_GET_ISSUER_CERT: "certificate_not_trusted",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "certificate_not_trusted",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "certificate_not_trusted",
  CERT_SIGNATURE_FAILURE: "certificate_not_trusted",
  CERT_CHAIN_TOO_LONG: "certificate_not_trusted",
  CERT_UNTRUSTED: "certificate_not_trusted",
  CERT_REJECTED: "certificate_not_trusted",
  CERT_REVOKED: "certificate_not_trusted",
  INVALID_CA: "certificate_not_trusted",
  INVALID_PURPOSE: "certificate_not_trusted",
  PATH_LENGTH_EXCEEDED: "certificate_not_trusted",
};

function codeOf(error: unknown): UnreachableCode {
  // The innermost code is the system's or TLS's own.
  for (let at = error; at instanceof Error; at = at.cause) {
    const code = "code" in at ? String(at.code) : "";
    const found = codes[code];
    if (found !== undefined) return found;
    if (/^ERR_SSL_.*ALERT.*CERTIFICATE|^ERR_SSL_.*ALERT_(UNKNOWN_CA|ACCESS_DENIED)/.test(code)) return "unauthorized";
    if (/^(ERR_SSL_|ERR_TLS_|EPROTO$)/.test(code)) return "tls_failed";
  }
  return "unreachable";
}

function sentenceOf(code: UnreachableCode, cause: unknown): string {
  switch (code) {
    case "refused":
      return "refuses connections: no API server listens there";
    case "timed_out":
      return `gave no answer in time${cause instanceof KubeTimeout ? `: ${cause.message}` : ""}`;
    case "name_not_found":
      return "cannot be reached: its name is not known here";
    case "no_route":
      return "cannot be reached: there is no way to it from here";
    case "cut":
      return "closed the connection in the middle";
    case "certificate_not_trusted":
      return "shows a certificate that the given authority did not issue";
    case "certificate_expired":
      return "shows a certificate that has expired or is not valid yet";
    case "certificate_wrong_name":
      return "shows a certificate of another host";
    case "tls_failed":
      return `cannot be spoken to over TLS: ${wordsOf(cause)}`;
    case "unauthorized":
      return "does not know who asks: the certificate or the token is not valid there, or not any more";
    case "unreachable":
      return `cannot be reached: ${wordsOf(cause)}`;
  }
}

function wordsOf(cause: unknown): string {
  return (cause instanceof Error ? cause.message : String(cause)).slice(0, 300);
}
