// The lab itself: daemons side by side, networks that work, and nothing left of them, however a test ends. Looks only at what is its own, because other
// runs may have daemons on the same machine.
import { execFileSync, spawn } from "node:child_process";
import { createReadStream, existsSync, readFileSync, readdirSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { importImage } from "../../builders/bases/import.ts";
import { debianMissing, debianTar } from "../../builders/testing/debian.ts";
import { livingProcesses, readProc } from "../../os/process.ts";
import { DockerApi } from "../api.ts";
import { readFrames } from "../frames.ts";
import { dockerdMissing, podmanMissing, startDockerd, startPodman, type TestDaemon } from "./daemon.ts";
import { readFirewall } from "./firewall.ts";

const missing = dockerdMissing() ?? podmanMissing() ?? debianMissing();
const reference = "berth-test/debian:12";
/** In the command line of every container of this run. */
const token = `berth-lab-test-${String(process.pid)}`;

/** Answers each connection with one text. */
const serving = (text: string): string[] => [
  "perl",
  "-MIO::Socket::INET",
  "-e",
  `my $s = IO::Socket::INET->new(Listen => 5, LocalPort => 80, ReuseAddr => 1) or die; while (my $c = $s->accept) { print $c "${text}"; close $c }`,
];
const asking = (host: string): string[] => [
  "bash",
  "-c",
  `for try in 1 2 3 4 5 6 7 8 9 10; do timeout 3 cat < /dev/tcp/${host}/80 && exit; sleep 0.2; done; exit 1 # ${token}`,
];

describe.skipIf(missing !== undefined)(
  missing === undefined ? "test daemons, as root" : `test daemons, as root (skipped: ${missing})`,
  () => {
    let tar: string;
    beforeAll(async () => {
      tar = await debianTar();
    });

    it.each([
      ["two dockerds", [startDockerd, startDockerd]],
      ["two podmans", [startPodman, startPodman]],
      ["a dockerd and a podman", [startDockerd, startPodman]],
      ["a dockerd with a way out and a podman", [(): Promise<TestDaemon> => startDockerd({ outbound: true }), startPodman]],
    ])("%s run side by side, each with networks, names and published ports of its own, and leave nothing", async (_, starts) => {
      const numbers: number[] = [];
      const ids: string[] = [];
      {
        await using stack = new AsyncDisposableStack();
        for (const [index, start] of starts.entries()) {
          const daemon = stack.use(await start());
          numbers.push(numberIn(daemon.subnet));
          const api = stack.adopt(new DockerApi(daemon.endpoint), (each) => {
            each.close();
          });
          const text = `hello from ${token} ${String(index)}`;
          await importImage(api, createReadStream(tar), { reference });
          await api.json("POST", "/networks/create", { body: { Name: "inner", CheckDuplicate: true } });
          const server = await run(api, "server", serving(text), { PortBindings: { "80/tcp": [{ HostIp: "127.0.0.1" }] } });
          await expect.poll(() => ask(server.port), { timeout: 20_000 }).toBe(text);
          const client = await run(api, "client", asking("server"));
          expect(await output(api, client.id)).toBe(text);
          ids.push(server.id, client.id);
        }
      }
      await expect.poll(() => traces(numbers, ids), { timeout: 20_000 }).toEqual([]);
    });

    it.each([
      ["dockerd", "startDockerd"],
      ["podman", "startPodman"],
    ])("%s goes when the test that started it is killed, and the next start removes what is left", async (_, start) => {
      const script = `
      import { createReadStream } from "node:fs";
      import { ${start} } from "${import.meta.dirname}/daemon.ts";
      import { importImage } from "${import.meta.dirname}/../../builders/bases/import.ts";
      import { DockerApi } from "${import.meta.dirname}/../api.ts";
      const daemon = await ${start}();
      const api = new DockerApi(daemon.endpoint);
      await importImage(api, createReadStream("${tar}"), { reference: "${reference}" });
      const { Id } = await api.json("POST", "/containers/create", { body: { Image: "${reference}", Cmd: ["sh", "-c", "sleep 600; echo ${token}"] } });
      await api.json("POST", "/containers/" + Id + "/start");
      process.stdout.write(JSON.stringify({ subnet: daemon.subnet, id: Id }));
      setInterval(() => {}, 1000);`;
      const child = spawn(process.execPath, ["--input-type=module-typescript", "-e", script], { stdio: ["ignore", "pipe", "inherit"] });
      const [said] = (await child.stdout.take(1).toArray()) as Buffer[];
      const { subnet, id } = JSON.parse(String(said)) as { subnet: string; id: string };
      const mine = processes([numberIn(subnet)]);
      expect(mine.filter((command) => command.includes(token))).not.toEqual([]);
      expect(mine.length).toBeGreaterThan(2);
      child.kill("SIGKILL");
      // Another run that starts a daemon may clear the place away first, and take its number.
      await expect.poll(() => (isTaken(numberIn(subnet), child.pid) ? processes([numberIn(subnet)]) : []), { timeout: 20_000 }).toEqual([]);
      await using daemon = await startDockerd();
      expect(
        traces(
          [numberIn(subnet)].filter((number) => number !== numberIn(daemon.subnet)),
          [id],
        ),
      ).toEqual([]);
    });
  },
);

const numberIn = (subnet: string): number => Number(subnet.split(".")[1]);

/** Whether the place belongs to this process, or to the one that is named. */
function isTaken(number: number, pid = process.pid): boolean {
  const owner = join(tmpdir(), "berth-lab", String(number), "owner.json");
  return existsSync(owner) && (JSON.parse(readFileSync(owner, "utf8")) as { pid: number }).pid === pid;
}

/** Starts a container in the network `inner`. `port` is the port of this machine that its port 80 was given, 0 for none. */
async function run(api: DockerApi, name: string, cmd: readonly string[], host: object = {}): Promise<{ id: string; port: number }> {
  const body = { Image: reference, Cmd: cmd, ExposedPorts: { "80/tcp": {} }, HostConfig: { NetworkMode: "inner", ...host } };
  const { Id: id } = await api.json<{ Id: string }>("POST", "/containers/create", { query: { name }, body });
  await api.json("POST", `/containers/${id}/start`);
  const inspected = await api.json<{ NetworkSettings: { Ports: Record<string, { HostPort: string }[] | null> } }>(
    "GET",
    `/containers/${id}/json`,
  );
  return { id, port: Number(inspected.NetworkSettings.Ports["80/tcp"]?.[0]?.HostPort ?? 0) };
}

async function output(api: DockerApi, id: string): Promise<string> {
  await api.json("POST", `/containers/${id}/wait`);
  let text = "";
  const logs = await api.stream("GET", `/containers/${id}/logs`, { query: { stdout: true, stderr: true } });
  for await (const frame of readFrames(logs)) text += frame.data.toString();
  return text;
}

async function ask(port: number): Promise<string> {
  let text = "";
  try {
    for await (const chunk of connect(port, "127.0.0.1")) text += String(chunk);
  } catch (error) {
    text = String(error);
  }
  return text;
}

function processes(numbers: readonly number[]): string[] {
  const marks = [token, ...numbers.map((number) => join(tmpdir(), "berth-lab", String(number), "/"))];
  return livingProcesses()
    .filter((stat) => stat.pid !== process.pid)
    .map((stat) => (readProc(`/proc/${String(stat.pid)}/cmdline`) ?? "").replaceAll("\0", " ").trim())
    .filter((command) => !command.includes("--input-type=module-typescript") && marks.some((mark) => command.includes(mark)));
}

/** What is left of these places and containers, on this machine. A number that another run has taken meanwhile was clean before. */
function traces(numbers: readonly number[], ids: readonly string[]): string[] {
  const left = numbers.filter((number) => isTaken(number) || !existsSync(join(tmpdir(), "berth-lab", String(number))));
  const marks = left.flatMap((number) => [` 10.${String(number)}.`, `berth-lab/${String(number)}/`]);
  const lines = [
    ...execFileSync("ip", ["-br", "addr"], { encoding: "utf8" }).split("\n"),
    ...readFirewall().split("\n"),
    ...readFileSync("/proc/self/mounts", "utf8").split("\n"),
  ];
  const groups = readdirSync("/sys/fs/cgroup").flatMap((each) =>
    [...left.map((number) => `berth-test-${String(number)}`), ...ids.map((id) => `libpod_parent/libpod-${id}`)]
      .map((name) => join("/sys/fs/cgroup", each, name))
      .filter((path) => existsSync(path)),
  );
  const folders = left.map((number) => join(tmpdir(), "berth-lab", String(number))).filter((path) => existsSync(path));
  return [...processes(left), ...lines.filter((line) => marks.some((mark) => line.includes(mark))), ...groups, ...folders];
}
