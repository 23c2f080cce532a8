// One set-up at a time per folder. The lock is a listening abstract unix socket, so that the kernel lets go of it when its holder dies,
// however it dies; a lock file would have to be cleaned up by guessing.
import { createHash } from "node:crypto";
import { realpathSync } from "node:fs";
import { connect, createServer } from "node:net";
import { setTimeout as pause } from "node:timers/promises";

/** Resolves when this process holds the lock of `folder`; `onWait` is called once if another holds it. */
export async function takeLock(folder, onWait) {
  if (process.platform !== "linux") return { release() {} };
  const name = `\0berth-setup-${createHash("sha256").update(realpathSync(folder)).digest("hex").slice(0, 32)}`;
  let told = false;
  for (;;) {
    const lock = await tryListen(name);
    if (lock !== undefined) return lock;
    if (!told) onWait();
    told = true;
    await untilReleased(name);
    await pause(20);
  }
}

function tryListen(name) {
  return new Promise((resolve, reject) => {
    const waiting = new Set();
    const server = createServer((socket) => {
      waiting.add(socket);
      socket.on("error", () => waiting.delete(socket));
      socket.on("close", () => waiting.delete(socket));
      socket.unref();
    });
    server.on("error", (error) => (error.code === "EADDRINUSE" ? resolve(undefined) : reject(error)));
    server.listen(name, () =>
      resolve({
        release() {
          server.close();
          for (const socket of waiting) socket.destroy();
        },
      }),
    );
  });
}

/** The holder keeps the connection open until it lets go or dies. */
function untilReleased(name) {
  return new Promise((resolve) => {
    const socket = connect(name);
    socket.resume();
    socket.on("error", resolve);
    socket.on("close", resolve);
  });
}
