// The primary's control socket: HTTP and JSON over a unix socket that only the same user can open. It translates; deciding is done by entries and fleet.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { randomUUID } from "node:crypto";
import { errors, type Problem } from "@berth/contract/errors.ts";
import { fill } from "@berth/contract/causes.ts";
import { namePattern } from "@berth/contract/names.ts";
import type { TSchema, Static } from "typebox";
import { Value } from "typebox/value";
import { BerthError } from "../../core/errors.ts";
import type { Ref } from "../../engines/engine.ts";
import { edgeProtocol, protocolHeader, type Hello, type Program } from "../ipc.ts";
import type { HeldCertificates } from "./certificates.ts";
import type { Entries } from "./entries.ts";
import type { HeldProofs } from "./proofs.ts";
import { ApplyBody, CertificatesBody, EpochBody, ProofBody, ProofRemoval, RemoveBody, UpgradeBody } from "./schema.ts";

const mostBytes = 16 * 1024 * 1024;
const name = new RegExp(namePattern);

export interface ControlDeps {
  readonly entries: Entries;
  readonly certificates: HeldCertificates;
  readonly proofs: HeldProofs;
  readonly hello: () => Hello;
  readonly metrics: () => Promise<string>;
  readonly reload: () => Promise<void>;
  readonly shutdown: () => void;
  /** Resolves when the next primary has taken over. */
  readonly upgrade: (program: Program) => Promise<void>;
  /** Another primary is taking over: it will be asked instead. */
  readonly isLeaving: () => boolean;
  readonly logError: (error: unknown) => void;
}

/** Ask again: the next primary will answer. */
export const beingReplaced = (): BerthError =>
  new BerthError("engine_unavailable", { cluster: "local", reason: "the edge is being upgraded" });

type Answer = { readonly status: number; readonly body?: unknown; readonly text?: string };

export function createControlServer(deps: ControlDeps): Server {
  const server = createServer((req, res) => {
    void answer(deps, req)
      .catch((error: unknown) => problem(deps, error))
      .then((result) => {
        send(deps, res, result);
      });
  });
  server.requestTimeout = 60_000;
  return server;
}

async function answer(deps: ControlDeps, req: IncomingMessage): Promise<Answer> {
  if (deps.isLeaving()) throw beingReplaced();
  const protocol = req.headers[protocolHeader];
  if (protocol !== undefined && protocol !== String(edgeProtocol))
    throw new BerthError("wrong_state", {
      verb: "This call",
      reason: `the edge speaks protocol ${String(edgeProtocol)}`,
      hint: "Restart the edge with this version: `berth server restart --edge`.",
    });
  const [path = ""] = (req.url ?? "").split("?");
  const [, version = "", noun = "", stack = "", component = ""] = path.split("/");
  switch (`${req.method ?? ""} /${version}/${noun}`) {
    case "GET /v1/hello":
      return { status: 200, body: deps.hello() };
    case "GET /metrics/":
      return { status: 200, text: await deps.metrics() };
    case "POST /v1/reload":
      await deps.reload();
      return { status: 204 };
    case "POST /v1/upgrade":
      await deps.upgrade(await body(req, UpgradeBody));
      return { status: 204 };
    case "POST /v1/shutdown":
      deps.shutdown();
      return { status: 202 };
    case "GET /v1/applied":
      return { status: 200, body: await deps.entries.applied(refOf(stack, component)) };
    case "GET /v1/entries":
      return { status: 200, body: stack === "" ? { entries: deps.entries.list() } : { entry: deps.entries.get(refOf(stack, component)) } };
    case "PUT /v1/epoch":
      await deps.entries.raiseEpoch(await body(req, EpochBody));
      return { status: 204 };
    case "PUT /v1/certificates": {
      const { fence, certificates } = await body(req, CertificatesBody);
      await deps.certificates.put(fence, certificates);
      return { status: 204 };
    }
    case "PUT /v1/proofs": {
      const { epoch, proof } = await body(req, ProofBody);
      await deps.proofs.put(epoch, proof);
      return { status: 204 };
    }
    case "DELETE /v1/proofs": {
      const { epoch, token } = await body(req, ProofRemoval);
      await deps.proofs.remove(epoch, token);
      return { status: 204 };
    }
    case "PUT /v1/entries": {
      const ref = refOf(stack, component);
      const { fence, entry } = await body(req, ApplyBody);
      if (entry.ref.stack !== ref.stack || entry.ref.component !== ref.component)
        throw new BerthError("invalid_request", { reason: "the entry is of another component than its path" });
      await deps.entries.put(ref, fence, entry);
      return { status: 204 };
    }
    case "DELETE /v1/entries": {
      const ref = refOf(stack, component);
      const { fence } = await body(req, RemoveBody);
      await deps.entries.put(ref, fence, null);
      return { status: 204 };
    }
    default:
      throw new BerthError("not_found", { kind: "path", name: path, hint: "The edge's socket is for the control plane." });
  }
}

/** Names become file names: nothing else may pass. */
function refOf(stack: string, component: string): Ref {
  if (!name.test(stack) || !name.test(component))
    throw new BerthError("invalid_request", { reason: "stack and component have to be names" });
  return { stack, component };
}

async function body<T extends TSchema>(req: IncomingMessage, schema: T): Promise<Static<T>> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of req) {
    const buffer = chunk as Buffer;
    bytes += buffer.length;
    if (bytes > mostBytes) throw new BerthError("payload_too_large", { limit: mostBytes, hint: "Split it." });
    chunks.push(buffer);
  }
  const value = parse(Buffer.concat(chunks).toString("utf8"));
  if (Value.Check(schema, value)) return value;
  const first = Value.Errors(schema, value)[0];
  throw new BerthError("invalid_request", { reason: `${first?.instancePath ?? ""} ${first?.message ?? "is not valid"}`.trim() });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new BerthError("invalid_request", { reason: "the body is not JSON" }, { cause: error });
  }
}

function problem(deps: ControlDeps, error: unknown): Answer {
  if (!(error instanceof BerthError)) deps.logError(error);
  const code = error instanceof BerthError ? error.code : "internal";
  const params = error instanceof BerthError ? error.params : {};
  const { status, detail, hint } = errors[code];
  const value: Problem = {
    type: `errors#${code}`,
    title: code,
    status,
    code,
    detail: fill(detail, params),
    hint: fill(hint, params),
    params,
    requestId: randomUUID(),
  };
  return { status, body: value };
}

function send(deps: ControlDeps, res: ServerResponse, result: Answer): void {
  const { router, https } = deps.hello();
  const text = result.text ?? (result.body === undefined ? "" : JSON.stringify(result.body));
  const type =
    result.text === undefined
      ? result.status >= 400
        ? "application/problem+json"
        : "application/json"
      : "text/plain; version=0.0.4; charset=utf-8";
  if (deps.isLeaving()) res.setHeader("connection", "close");
  res.writeHead(result.status, {
    "content-type": type,
    "content-length": Buffer.byteLength(text),
    [protocolHeader]: String(edgeProtocol),
    "x-berth-router": `${router.host}:${String(router.port)}`,
    ...(https === undefined || https.problem !== undefined ? {} : { "x-berth-https": `${https.host}:${String(https.port)}` }),
  });
  res.end(text);
}
