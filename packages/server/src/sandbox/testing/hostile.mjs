// A program that tries to get at what is not its own: Berth's files and sockets, other stacks' files and processes, and rights it was not given.
// It needs nothing but Node.js, reads its targets from HOSTILE (JSON), and prints one line of JSON for each attempt: what it tried and what came of it.
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  linkSync,
  openSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";

const targets = JSON.parse(process.env.HOSTILE ?? "{}");
const say = (attempt, got) => {
  process.stdout.write(`${JSON.stringify({ attempt, got: String(got) })}\n`);
};
const attempt = (name, act) => {
  try {
    say(name, act() ?? "DONE");
  } catch (error) {
    say(name, error.code ?? error.message.split("\n")[0]);
  }
};
const shell = (script) => execFileSync("/bin/sh", ["-c", `{ ${script}; } 2>&1; true`], { encoding: "utf8", timeout: 10_000 }).trim();

for (const [name, path] of Object.entries(targets.read ?? {})) {
  attempt(`read ${name}`, () => {
    readFileSync(path);
    return "READ";
  });
  attempt(`read ${name} through its first process`, () => {
    readFileSync(join("/proc/1/root", path));
    return "READ";
  });
}
for (const [name, path] of Object.entries(targets.list ?? {})) attempt(`list ${name}`, () => `LISTED ${readdirSync(path).join(" ")}`);
for (const [name, path] of Object.entries(targets.write ?? {})) {
  attempt(`write ${name}`, () => {
    writeFileSync(path, "hostile");
    return "WRITTEN";
  });
  attempt(`link ${name}`, () => {
    linkSync(path, join(process.cwd(), `hard-${name.replaceAll(" ", "-")}`));
    return "LINKED";
  });
  attempt(`write ${name} by a link`, () => {
    const link = join(process.cwd(), `soft-${name.replaceAll(" ", "-")}`);
    if (!existsSync(link)) symlinkSync(path, link);
    writeFileSync(link, "hostile");
    return "WRITTEN";
  });
}
const reached = (path) =>
  new Promise((resolve) => {
    const socket = connect({ path }, () => {
      socket.destroy();
      resolve("CONNECTED");
    });
    socket.on("error", (error) => resolve(error.code));
  });
for (const [name, path] of Object.entries(targets.connect ?? {})) say(`connect to ${name}`, await reached(path));

// Whatever the process table shows: does any of it tell the victim's secret?
const others = readdirSync("/proc").filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
// What started it has the same targets in its environment.
const kin = (pid) => {
  try {
    return readFileSync(`/proc/${pid}/environ`, "latin1").includes("HOSTILE=");
  } catch {
    return false;
  }
};
const leaks = (file) =>
  others.filter((pid) => {
    try {
      return !kin(pid) && readFileSync(`/proc/${pid}/${file}`, "latin1").includes(targets.secret);
    } catch {
      return false;
    }
  });
for (const file of ["environ", "cmdline", "maps"])
  attempt(`find the secret in any ${file}`, () => (leaks(file).length > 0 ? "FOUND" : "nothing"));
for (const [name, pid] of Object.entries(targets.processes ?? {})) {
  attempt(`see ${name}`, () => {
    readFileSync(`/proc/${pid}/cmdline`);
    return `SEEN ${readFileSync(`/proc/${pid}/comm`, "utf8").trim()}`;
  });
  attempt(`enter the folder of ${name}`, () => {
    readlinkSync(`/proc/${pid}/cwd`);
    return "READ";
  });
  attempt(`write the memory of ${name}`, () => {
    openSync(`/proc/${pid}/mem`, "r+");
    return "OPENED";
  });
  attempt(`join the files of ${name}`, () => shell(`nsenter --mount=/proc/${pid}/ns/mnt true && echo JOINED`));
  // A number that means somebody else in a process view of its own is no attempt at this process.
  attempt(`stop ${name}`, () => {
    if (Number(pid) === process.pid) return "ESRCH";
    process.kill(Number(pid), "SIGSTOP");
    return "SIGNALLED";
  });
}
// A signal that nobody minds but who waits for it.
attempt("signal everything", () => shell("setsid sh -c 'kill -WINCH -1'; echo tried"));

attempt("mount", () => shell("mount -t tmpfs tmpfs /tmp && echo MOUNTED"));
attempt("mount in a user namespace and look below", () =>
  shell(
    `unshare -Urm sh -c 'umount -l ${targets.home}; umount -R -l /tmp; cat ${Object.values(targets.read ?? {}).join(" ")} && echo READ'`,
  ),
);
attempt("make a device", () => shell("mknod /tmp/disk b 8 0 && echo MADE"));
attempt("become root", () => shell("setpriv --reuid=0 id -u && echo ROOT; su -c 'echo ROOT' root </dev/null; sudo -n id"));
attempt("keep a setuid shell", () => {
  const file = join(process.cwd(), "shell");
  copyFileSync("/bin/sh", file);
  chmodSync(file, 0o6755);
  return shell(`${file} -p -c 'id -u'`) === String(process.getuid()) ? "only itself" : "OTHER USER";
});
attempt("rights", () =>
  /CapEff:\s*0+$/m.exec(readFileSync("/proc/self/status", "utf8")) && /NoNewPrivs:\s*1/.exec(readFileSync("/proc/self/status", "utf8"))
    ? "none"
    : "SOME",
);
attempt("open descriptors", () => {
  const found = readdirSync("/proc/self/fd").flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)];
    } catch {
      return [];
    }
  });
  const inherited = found.filter(
    (path) =>
      path.startsWith("/") &&
      !path.startsWith("/dev/") &&
      !path.startsWith("/proc/") &&
      !/\/std(out|err)$/.test(path) &&
      !/\/pipe-/.test(path) &&
      !path.startsWith(process.cwd()),
  );
  return inherited.length === 0 ? "nothing of others" : `INHERITED ${inherited.join(" ")}`;
});
attempt(
  "inherited environment",
  () =>
    Object.keys(process.env)
      .filter((name) => /^(npm_|VITEST|SUDO|SSH|DATABASE_URL|BERTH_(HOME|TOKEN))/.test(name))
      .join(" ") || "nothing of Berth",
);
say("end", "end");
if (targets.stay === true) setInterval(() => undefined, 1000);
