// A socket here that leads to the builder's own in a cluster: each connection is BuildKit's client beside it, which hands on bytes (`buildctl dial-stdio`), over the API server. No port
// is open for it anywhere: what builds run may have the pod's network, and must not find there whom to give orders to.
import { chmodSync, mkdirSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { dirname } from "node:path";
import { builderNamespace } from "@berth/contract/clusterrights.ts";
import type { KubeApi } from "../../kubernetes/api.ts";
import { exec } from "../../kubernetes/streams.ts";
import { builderContainer } from "./builder-objects.ts";

export interface BuilderSocket {
  /** Connections that come from now on lead to this pod. */
  lead(pod: string): void;
  close(): Promise<void>;
}

/** ms for the client in the pod to end after its input did. */
const patience = 5_000;

/** `path`: of the socket, which only this user may connect to. `onTrouble`: told why a connection led nowhere; whoever connected sees its end. */
export async function openBuilderSocket(api: KubeApi, path: string, onTrouble: (error: unknown) => void): Promise<BuilderSocket> {
  let pod: string | undefined;
  const life = new AbortController();
  const open = new Set<Promise<void>>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const led = carry(api, socket, pod, life.signal)
      .catch((error: unknown) => {
        if (!life.signal.aborted) onTrouble(error);
      })
      .finally(() => open.delete(led));
    open.add(led);
  });
  mkdirSync(dirname(path), { recursive: true });
  rmSync(path, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(path, resolve);
  });
  chmodSync(path, 0o600);
  return {
    lead: (to) => (pod = to),
    async close() {
      life.abort(new Error("the builder is let go of"));
      await Promise.all(open);
      await new Promise((resolve) => server.close(resolve));
      rmSync(path, { force: true });
    },
  };
}

/** Both directions, until one of them is at its end. Errors: of `exec`, while the connection is still wanted. */
async function carry(api: KubeApi, socket: Socket, pod: string | undefined, life: AbortSignal): Promise<void> {
  const cut = new AbortController();
  const gone = new Promise<void>((resolve) => {
    socket.once("close", () => resolve());
  });
  socket.on("error", () => undefined);
  try {
    if (pod === undefined) throw new Error("there is no builder yet");
    const of = { namespace: builderNamespace, pod, container: builderContainer };
    const running = await exec(api, { ...of, command: ["buildctl", "dial-stdio"], stdin: true }, AbortSignal.any([life, cut.signal]));
    const { stdin, stdout, stderr } = running;
    if (stdin === undefined) throw new TypeError("a command with an input has one");
    for (const stream of [stdin, stdout, stderr]) stream?.on("error", () => socket.destroy());
    stderr?.resume();
    socket.pipe(stdin);
    stdout.pipe(socket);
    // A client that is killed says no goodbye: the one in the pod ends with its input, and BuildKit ends what it did for it.
    void gone.then(() => stdin.end());
    await Promise.race([running.exit, gone]);
    const late = setTimeout(() => cut.abort(new Error("it does not end")), patience);
    // Nobody waits for what it says once the connection is gone.
    if (socket.destroyed) await running.exit.catch(() => undefined);
    else await running.exit;
    clearTimeout(late);
  } finally {
    cut.abort(new Error("the connection is over"));
    socket.destroy();
    await gone;
  }
}
