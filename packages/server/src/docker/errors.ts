// What may come of a call to a Docker daemon. It refused, nobody answered, or it said something that is not the protocol: callers treat the three differently.

/** The daemon answered and refused. `status` is the HTTP status, `message` what the daemon says, at most 2,000 characters. */
export class DockerError extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.name = "DockerError";
    this.status = status;
  }
}

/** Whether a name is in use already: 409, which podman 4 says with a 500. */
export function isNameTaken(error: unknown): boolean {
  return (
    error instanceof DockerError && (error.status === 409 || (error.status === 500 && /name .* is already in use/.test(error.message)))
  );
}

/** Nobody answered, or the connection broke: the daemon does not run, may not be reached, or its certificate is not trusted. Worth a retry. */
export class DockerUnreachable extends Error {
  /** As in `unix:///var/run/docker.sock`. */
  readonly endpoint: string;
  /** Of Node.js (`ECONNREFUSED`, `ENOENT`, `EACCES`, `ECONNRESET`), of TLS, or `TIMEOUT`; empty when there is none. */
  readonly code: string;
  constructor(endpoint: string, cause: unknown) {
    const code = codeOf(cause);
    super(`${endpoint} ${reasonOf(code, cause)}`, { cause });
    this.name = "DockerUnreachable";
    this.endpoint = endpoint;
    this.code = code;
  }
}

/** A stream that is not what the API promises: a broken frame header, a line that is not JSON, an end in the middle. */
export class DockerStreamError extends Error {
  override readonly name = "DockerStreamError";
}

/** For the cause of a DockerUnreachable. */
export class DockerTimeout extends Error {
  override readonly name = "DockerTimeout";
  readonly code = "TIMEOUT";
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}

function reasonOf(code: string, cause: unknown): string {
  switch (code) {
    case "ENOENT":
      return "is not there: the daemon does not run, or listens elsewhere";
    case "ECONNREFUSED":
      return "refuses connections: the daemon does not run";
    case "EACCES":
    case "EPERM":
      return "may not be opened by this user";
    case "ECONNRESET":
    case "EPIPE":
      return "closed the connection in the middle";
    default:
      return `cannot be reached: ${cause instanceof Error ? cause.message : String(cause)}`;
  }
}
