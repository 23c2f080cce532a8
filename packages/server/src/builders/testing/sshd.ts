// A real OpenSSH server on loopback for tests, where this machine has one. It runs in a mount namespace of its own, with users that exist there alone.
import { execFileSync, spawn, spawnSync, type ChildProcess } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { connect, createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { until } from "./host.ts";
import { isExecutable } from "../../os/programs.ts";

export interface SshServer {
  readonly user: string;
  readonly port: number;
  /** Lines for known_hosts. */
  readonly knownHosts: string[];
  readonly privateKey: string;
  close(): Promise<void>;
}

const uid = process.getuid?.() ?? 0;
const isRoot = uid === 0;
const namespace = isRoot ? ["--mount", "--propagation", "private"] : ["--user", "--map-current-user", "--keep-caps", "--mount"];

/** Path of sshd, or undefined with the reason why tests over ssh cannot run here. */
export function findSshd(): { readonly path: string } | { readonly missing: string } {
  const path = [process.env["BERTH_TEST_SSHD"], "/usr/sbin/sshd", "/usr/local/sbin/sshd"].find(
    (one) => one !== undefined && isExecutable(one),
  );
  if (path === undefined) return { missing: "there is no sshd (apt-get install openssh-server)" };
  if (spawnSync("unshare", [...namespace, "--", "true"]).status !== 0) return { missing: "this user may make no mount namespace here" };
  return { path };
}

/** Starts the server; `dir` is a new folder of the test's that other users may pass. */
export async function startSshd(path: string, dir: string): Promise<SshServer> {
  mkdirSync(dir, { mode: 0o755 });
  writeUsers(dir);
  for (const name of ["host", "user"])
    execFileSync("unshare", withUsers(dir, "ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", join(dir, name)]));
  const port = await freePort();
  const keys = join(dir, "authorized");
  writeFileSync(keys, readFileSync(join(dir, "user.pub")), { mode: 0o644 });
  writeFileSync(
    join(dir, "config"),
    [
      `Port ${String(port)}`,
      "ListenAddress 127.0.0.1",
      `HostKey ${join(dir, "host")}`,
      `AuthorizedKeysFile ${keys}`,
      "StrictModes no",
      "PidFile none",
      "PasswordAuthentication no",
      "KbdInteractiveAuthentication no",
      "UsePAM no",
      "SetEnv GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0=*",
      "",
    ].join("\n"),
  );
  const child = spawn("unshare", withUsers(dir, path, ["-D", "-e", "-f", join(dir, "config")]), { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr?.on("data", (data: Buffer) => {
    said += data.toString();
  });
  await until(`sshd answers: ${said}`, () => {
    if (child.exitCode !== null) throw new Error(`sshd ended: ${said}`);
    return answers(port);
  });
  const key = readFileSync(join(dir, "host.pub"), "utf8").split(" ").slice(0, 2).join(" ");
  return {
    user: "git",
    port,
    knownHosts: [`[127.0.0.1]:${String(port)} ${key}`],
    privateKey: readFileSync(join(dir, "user"), "utf8"),
    close: () => stop(child),
  };
}

/** Users that may log in, whatever the machine's own list says of this one. */
function writeUsers(dir: string): void {
  const own = isRoot
    ? "sshd:x:61237:65534::/run/sshd:/usr/sbin/nologin\ngit:*:61236:61236::/tmp:/bin/sh\n"
    : `git:*:${uid}:${process.getgid?.() ?? uid}::/tmp:/bin/sh\n`;
  writeFileSync(join(dir, "passwd"), `root:x:0:0:root:/root:/bin/sh\n${own}`);
}

/** Arguments for `unshare`: the program where those users exist. */
function withUsers(dir: string, program: string, args: readonly string[]): string[] {
  const run = isRoot ? " && mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd" : "";
  return [...namespace, "--", "sh", "-c", `mount -n --bind "$0/passwd" /etc/passwd${run} && exec "$@"`, dir, program, ...args];
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => {
    server.close(resolve);
  });
  return port;
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("data", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => {
      resolve(false);
    });
    // Closed without a word.
    socket.once("close", () => {
      resolve(false);
    });
  });
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => {
    child.once("exit", resolve);
  });
  child.kill("SIGTERM");
  await ended;
}
