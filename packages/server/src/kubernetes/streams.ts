// What goes on as long as somebody looks at it: a container's output, a command in it, a connection to one of its ports.
import type { Duplex, Readable, Writable } from "node:stream";
import type { KubeApi } from "./api.ts";
import { Channels, cutOff } from "./channels.ts";
import { KubeError, statusIn, unreachable } from "./errors.ts";
import { readLines } from "./lines.ts";
import { pathOf } from "./paths.ts";

export interface Container {
  readonly namespace: string;
  readonly pod: string;
  /** Absent: the pod's only one. */
  readonly container?: string | undefined;
}

export interface LogsOptions extends Container {
  readonly follow?: boolean | undefined;
  /** Only the last so many lines before following. */
  readonly tail?: number | undefined;
  /** Lines from then on; the server knows whole seconds. */
  readonly sinceTime?: Date | undefined;
  /** Of the container before its last restart. */
  readonly previous?: boolean | undefined;
  /** true unless told. */
  readonly timestamps?: boolean | undefined;
}

export interface PodLine {
  /** RFC 3339 with up to nine digits of a second; absent when it was not asked for, and for what the kubelet itself says. */
  readonly at?: string;
  /** At most 64 KiB. */
  readonly text: string;
  /** It was longer. */
  readonly cut: boolean;
}

export interface ExecOptions extends Container {
  readonly command: readonly string[];
  /** A terminal: there is no stderr then. */
  readonly tty?: boolean | undefined;
  /** Whether there is an input at all. */
  readonly stdin?: boolean | undefined;
}

export interface ExecExit {
  /** As the runtime tells it: 128 and the signal's number when one ended the command. */
  readonly exitCode: number;
}

/** What comes has to be read, or destroyed: a reader that stops holds up the other, and the exit. */
export interface Exec {
  /** Ending it is the command's end of input. Absent without `stdin`. */
  readonly stdin: Writable | undefined;
  readonly stdout: Readable;
  /** Absent with a terminal. */
  readonly stderr: Readable | undefined;
  resize(columns: number, rows: number): void;
  /** Errors: KubeError when the command could not be started, KubeUnreachable when the connection broke, the signal's reason. */
  readonly exit: Promise<ExecExit>;
  /** Cuts the connection; the command is not told. */
  close(): void;
}

const maxLineBytes = 64 * 1024;
const stamp = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)) ?/;
const execProtocol = "v5.channel.k8s.io";
/** The API server and the kubelet pass it on to the container runtime. The other one, SPDY inside a WebSocket, carries no more of a single connection. */
const forwardProtocol = "v4.channel.k8s.io";
/** Both channels of a port begin with its number. */
const portBytes = 2;

/** The lines of a container's output; ends when the container does, or with what there is unless it follows. Errors: KubeError, KubeUnreachable, or the signal's reason. */
export async function* logs(api: KubeApi, options: LogsOptions, signal: AbortSignal): AsyncGenerator<PodLine> {
  const { namespace, pod, container, follow, tail, sinceTime, previous, timestamps = true } = options;
  const query = { container, follow, tailLines: tail, sinceTime: sinceTime?.toISOString(), previous, timestamps };
  const chunks = await api.stream(pathOf("Pod", namespace, pod, "log"), {
    query,
    signal,
    // A kubelet begins to answer with the first line, and a container may be silent for hours.
    timeout: follow === true ? Infinity : undefined,
  });
  for await (const lines of readLines(chunks, maxLineBytes, "cut")) {
    for (const { text, cut } of lines) {
      const at = timestamps ? stamp.exec(text) : null;
      yield at?.[1] === undefined ? { text, cut } : { at: at[1], text: text.slice(at[0].length), cut };
    }
  }
}

/** Starts a command in a container. Errors: KubeError, KubeUnreachable, KubeProtocolError, or the signal's reason. */
export async function exec(api: KubeApi, options: ExecOptions, signal: AbortSignal): Promise<Exec> {
  const { namespace, pod, container, command, tty = false, stdin: hasInput = false } = options;
  const query = { container, command, stdin: hasInput, stdout: true, stderr: !tty, tty };
  const socket = await api.webSocket(pathOf("Pod", namespace, pod, "exec"), query, [execProtocol], signal);
  const channels = new Channels(socket, api.name, signal);
  const stdin = hasInput ? channels.writable(0) : undefined;
  const stdout = channels.readable(1);
  const stderr = tty ? undefined : channels.readable(2);
  const { promise: exit, resolve, reject } = Promise.withResolvers<ExecExit>();
  // Whoever does not wait for it is not to blame for it.
  exit.catch(() => undefined);
  let hasEnded = false;
  channels.onMessage(3, (data) => {
    hasEnded = true;
    try {
      resolve(exitOf(data.toString()));
    } catch (error) {
      reject(error);
    }
    channels.close();
  });
  void channels.closed.then((failure) => {
    const error = hasEnded ? undefined : (failure ?? unreachable(api.name, cutOff()));
    if (error !== undefined) reject(error);
    stdin?.destroy();
    for (const stream of [stdout, stderr]) {
      if (error === undefined) stream?.push(null);
      else stream?.destroy(error);
    }
  });
  channels.start();
  return {
    stdin,
    stdout,
    stderr,
    exit,
    resize: (columns, rows) => channels.send(4, Buffer.from(JSON.stringify({ Width: columns, Height: rows }))),
    close: () => channels.terminate(),
  };
}

/** An input that is held open for as long as somebody wants what it belongs to. */
export interface HeldInput {
  /** It is over; with what broke it, if something did. Never rejects. */
  readonly closed: Promise<Error | undefined>;
  close(): void;
}

/**
 * Holds the input of a container's main program, and writes nothing. With `stdinOnce` the program's input ends with this connection, however that ends. Errors: KubeError,
 * KubeUnreachable, KubeProtocolError, or the signal's reason.
 */
export async function holdInput(api: KubeApi, { namespace, pod, container }: Container, signal: AbortSignal): Promise<HeldInput> {
  const query = { container, stdin: true, stdout: false, stderr: false, tty: false };
  const socket = await api.webSocket(pathOf("Pod", namespace, pod, "attach"), query, [execProtocol], signal);
  const channels = new Channels(socket, api.name, signal);
  channels.onMessage(3, () => channels.close());
  channels.start();
  return { closed: channels.closed, close: () => channels.terminate() };
}

/** The command's v1.Status. Throws KubeError when it could not be run. */
function exitOf(text: string): ExecExit {
  const status = statusIn(text);
  if (status.status === "Success") return { exitCode: 0 };
  const code = status.details?.causes?.find((cause) => cause.reason === "ExitCode")?.message;
  if (status.reason === "NonZeroExitCode" && code !== undefined && /^\d+$/.test(code)) return { exitCode: Number(code) };
  throw new KubeError(status.code ?? 500, status);
}

/**
 * A connection to a port of a pod; the caller destroys it. The end of what is written is not told to the pod: the protocol has no word for it. Errors, of the call and of the stream:
 * KubeError (`PortForward` when nothing listens there), KubeUnreachable, KubeProtocolError, or the signal's reason.
 */
export async function forward(
  api: KubeApi,
  { namespace, pod, port }: { readonly namespace: string; readonly pod: string; readonly port: number },
  signal: AbortSignal,
): Promise<Duplex> {
  const socket = await api.webSocket(pathOf("Pod", namespace, pod, "portforward"), { ports: port }, [forwardProtocol], signal);
  const channels = new Channels(socket, api.name, signal);
  const stream = channels.duplex(0, portBytes);
  // It may break before whoever asked for it has it in hands.
  stream.on("error", () => undefined);
  let refusal = "";
  const refused = (data: Buffer): void => {
    refusal = (refusal + data.toString()).slice(0, 2_000);
    channels.close();
  };
  channels.onMessage(1, refused, portBytes);
  stream.once("close", () => channels.terminate());
  void channels.closed.then((failure) => {
    if (failure !== undefined) stream.destroy(failure);
    else if (refusal !== "") stream.destroy(new KubeError(500, { reason: "PortForward", message: refusal.trim() }));
    else stream.push(null);
  });
  channels.start();
  return stream;
}
