// Containers under an agent of Berth's, on a real daemon: what crashes, what is lost and what is done by hand.
import { rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Cause } from "@berth/contract/causes.ts";
import { debianMissing, debianTar } from "../../builders/testing/debian.ts";
import { dockerdMissing } from "../../docker/testing/daemon.ts";
import { startLate } from "../../docker/testing/late.ts";
import type { InstanceRecord, LogLine, Ref, Workload } from "../../engines/engine.ts";
import { never } from "../testing/engine-lab.ts";
import { ContainersLab, until } from "./testing/lab.ts";

const missing = dockerdMissing() ?? debianMissing();

describe.skipIf(missing !== undefined)(`containers${missing === undefined ? "" : ` (${missing})`}`, () => {
  let lab: ContainersLab;
  beforeAll(() => debianTar(), 600_000);
  beforeAll(async () => {
    lab = await ContainersLab.open("docker");
  });
  afterAll(() => lab?.[Symbol.asyncDispose]());

  const ref = (component: string): Ref => ({ stack: "shop", component });
  const shell = (component: string, line: string, over: Partial<Workload> = {}): Workload =>
    lab.workload({ ref: ref(component), kind: "worker", command: { shell: line }, ...over });
  const web = (component: string, over: Partial<Workload> = {}): Workload =>
    lab.workload({ ref: ref(component), ports: [{ name: "http", protocol: "http" }], ...over });
  const containerOf = async (component: string): Promise<string> => {
    const filters = JSON.stringify({ label: [`berth.component=${component}`, "berth.role=instance"] });
    const [found] = await lab.api.json<{ Id: string }[]>("GET", "/containers/json", { query: { all: true, filters } });
    return found?.Id ?? "";
  };
  const logs = async (component: string): Promise<LogLine[]> => {
    const lines: LogLine[] = [];
    for await (const line of lab.engine.logs(ref(component), { follow: false }, never)) lines.push(line);
    return lines;
  };

  describe("that do not come up say why", () => {
    it.each([
      ["ends", "echo 'Error: no database'; exit 4", {}, "exited_at_start", /no database/],
      ["lacks", undefined, { command: { exec: ["/nowhere/program", "x"] } }, "command_not_found", /nowhere/],
      ["grows", `exec perl -e '$x = "x" x 200_000_000; sleep 60'`, { resources: { memory: 50_000_000 } }, "out_of_memory", /47.7 MiB/],
      ["elsewhere", undefined, { ports: [{ name: "http", protocol: "http", port: 9100 }], env: { PORT: "9200" } }, "wrong_port", /9200/],
      ["silent", "exec sleep 100", { ports: [{ name: "http", protocol: "http" }] }, "not_listening", /8080/],
    ] as const)("%s", async (component, line, over, code, told) => {
      const command = line === undefined ? {} : { command: { shell: line } };
      await lab.run(lab.workload({ ref: ref(component), ...command, ...(over as Partial<Workload>) }));
      const tells = (cause: Cause | undefined): boolean => cause?.code === code && told.test(JSON.stringify(cause));
      // Last words may come after the end that they belong to.
      await lab.instance(({ cause }) => tells(cause), `${component} tells ${code}`, undefined, ref(component));
    });
  });

  it("whose image is gone are not started, and that is said", async () => {
    const gone = `sha256:${"0".repeat(64)}`;
    await expect(lab.run(lab.workload({ ref: ref("gone"), artifact: { kind: "image", reference: gone } }))).rejects.toMatchObject({
      failure: { code: "image_gone" },
    });
    // Nobody listens there.
    const far = "127.0.0.1:1/shop/web:1";
    await expect(lab.run(lab.workload({ ref: ref("far"), artifact: { kind: "image", reference: far } }))).rejects.toMatchObject({
      failure: { code: "image_pull_failed" },
      retryable: true,
    });
  });

  it("are started again when somebody stopped them, and noticed when somebody removed them", async () => {
    await lab.run(web("hand"));
    const before = await lab.instance((one) => one.ready, "ready", undefined, ref("hand"));
    const container = await containerOf("hand");
    await lab.api.json("POST", `/containers/${container}/stop`, { query: { t: 1 } });
    const after = await lab.instance((one) => one.ready && one.restarts > 0, "ready again", undefined, ref("hand"));
    expect(after).toMatchObject({ id: before.id, addresses: before.addresses });
    await lab.api.json("DELETE", `/containers/${container}`, { query: { force: true } });
    await until(async () => (await lab.instances(ref("hand"))).length === 0, "it is not there any more");
  });

  it("are the same after the agent was killed, and after it lost everything it had written down", async () => {
    const secret = "correct-horse";
    await lab.run(
      web("lasting", {
        env: { URL: `x://u:${secret}@db/`, PLAIN: "shown" },
        secretValues: [secret],
        record: { content: { deep: ["kept", 1] } },
      }),
    );
    const before = await lab.instance((one) => one.ready, "ready", undefined, ref("lasting"));
    const container = await containerOf("lasting");
    const record = async (): Promise<InstanceRecord | undefined> => {
      for await (const one of lab.engine.records(never)) if (one.ref.component === "lasting") return one;
      return undefined;
    };
    const told = await record();
    await lab.processes.kill("agent");
    await lab.upAgent();
    expect(await record()).toEqual(told);
    await lab.processes.kill("agent");
    await lab.processes.kill("collector");
    for (const folder of ["edge", "logs"]) rmSync(join(lab.home, folder), { recursive: true });
    await lab.upAgent();
    await lab.processes.up("collector");
    const after = await lab.instance((one) => one.ready, "ready again", undefined, ref("lasting"));
    expect(after).toMatchObject({ id: before.id, addresses: before.addresses, revision: before.revision });
    expect(await containerOf("lasting")).toBe(container);
    expect(await record()).toEqual(told);
    expect((await record())?.workload).toMatchObject({ secretValues: [secret], record: { content: { deep: ["kept", 1] } } });
  });

  it("write lines that are masked, in order, and none is lost or doubled when the collector is killed", async () => {
    const line = `i=0; while [ ! -e /tmp/enough ]; do echo "line $i $WORD"; i=$((i+1)); sleep 0.01; done; echo oops $i >&2; exec sleep 300`;
    await lab.run(shell("talker", line, { env: { WORD: "hush-hush" }, secretValues: ["hush-hush"] }));
    const read: string[][] = [];
    for (let kills = 0; kills < 3; kills += 1) {
      const before = read.at(-1)?.length ?? 0;
      await until(async () => {
        const lines = (await logs("talker")).map((one) => one.text);
        return lines.length > before + 20 && read.push(lines);
      }, "some lines");
      await lab.processes.kill("collector");
      await lab.processes.up("collector");
    }
    const one = await lab.instance((each) => each.ready, "it is there", undefined, ref("talker"));
    const enough = await lab.engine.exec(ref("talker"), one.id, { exec: ["touch", "/tmp/enough"] }, undefined, never);
    expect(await enough.exit).toEqual({ exitCode: 0 });
    const all = await until(async () => {
      const lines = await logs("talker");
      return lines.some((each) => each.stream === "stderr") && lines;
    }, "all lines");
    const said = all.find((each) => each.stream === "stderr")?.text ?? "";
    const texts = all.filter((each) => each.stream === "stdout").map((each) => each.text);
    // A kill between the two writes repeats the lines of one moment, and loses none.
    expect(said).toMatch(/^oops \d+$/);
    expect([...new Set(texts)]).toEqual(Array.from({ length: Number(said.slice(5)) }, (_, index) => `line ${String(index)} ***`));
    // What could be read had been noted: it does not come again.
    for (const known of read) {
      expect(texts.slice(0, known.length)).toEqual(known);
      const old = new Set(known);
      expect(texts.slice(known.length).filter((text) => old.has(text))).toEqual([]);
    }
  });

  it("give whoever follows a run all that it wrote, however late their daemon hands that on", async () => {
    const { endpoint } = lab.daemon;
    const at = join(lab.home, "late.sock");
    const readFrom = async (docker: string): Promise<void> => {
      lab.configure({ docker });
      await lab.processes.kill("collector");
      await lab.processes.up("collector");
    };
    const late = await startLate(endpoint.type === "unix" ? endpoint.path : "", at, 1_000);
    try {
      await readFrom(`unix://${at}`);
      const workload = shell("told", "true");
      await lab.prepare(workload);
      const run = { id: "told-late", workload, command: { shell: "echo one; echo two" }, deadline: 240_000, tty: false };
      await lab.engine.startTask(run, lab.fence(), never);
      const told: string[] = [];
      for await (const { text } of lab.engine.taskLogs(run.id, { follow: true }, never)) told.push(text);
      expect(told).toEqual(["one", "two"]);
      expect(await lab.engine.task(run.id, never)).toMatchObject({ phase: "succeeded" });
    } finally {
      await readFrom(lab.daemon.url);
      await late[Symbol.asyncDispose]();
    }
  });

  it("keep the last lines of what was stopped", async () => {
    await lab.run(shell("farewell", `trap 'echo goodbye; exit 0' TERM; echo hello; while :; do sleep 0.05; done`));
    await until(async () => (await logs("farewell")).length === 1, "it said hello");
    const [one] = await lab.instances(ref("farewell"));
    await lab.engine.stop(ref("farewell"), [one?.id ?? ""], 60_000, lab.fence(), never);
    await until(async () => (await containerOf("farewell")) === "", "its container is removed");
    expect((await logs("farewell")).map((each) => each.text)).toEqual(["hello", "goodbye"]);
  });

  it("have a terminal with a size that changes", async () => {
    await lab.run(shell("shell", "exec sleep 300"));
    const one = await lab.instance((each) => each.ready, "ready", undefined, ref("shell"));
    const session = await lab.engine.exec(
      ref("shell"),
      one.id,
      { shell: "read x; stty size; read y; stty size; exit 9" },
      { columns: 81, rows: 25 },
      never,
    );
    let said = "";
    session.stream.on("data", (data: Buffer) => {
      said += data.toString();
    });
    session.stream.write("go\n");
    await until(() => said.includes("25 81"), "the first size");
    session.resize(132, 50);
    session.stream.write("go\n");
    expect(await session.exit).toEqual({ exitCode: 9 });
    expect(said).toContain("50 132");
  });

  it("come back with their daemon, at the same addresses", async () => {
    await lab.run(web("reboot"), { replicas: 2 });
    const ready = (): Promise<readonly string[] | undefined> =>
      lab.instances(ref("reboot")).then(
        (all) =>
          all.length === 2 && all.every((one) => one.ready) ? all.map((one) => `${one.id} ${JSON.stringify(one.addresses)}`) : undefined,
        () => undefined,
      );
    const before = await until(ready, "both are ready");
    const ids = before.map((each) => each.split(" ")[0]);
    const stale = lab.processes.readiness.length;
    await lab.daemon.reboot();
    // What is told until the end was heard of is from before.
    await until(() => {
      const told = lab.processes.readiness.slice(stale).flatMap((message) => message.instances);
      return ids.every((id) => told.some((one) => one.id === id && !one.ready));
    }, "both were told as not ready");
    expect(await until(ready, "both are ready again")).toEqual(before);
    await until(() => {
      const told = lab.processes.readiness.slice(stale).flatMap((message) => message.instances);
      return ids.every((id) => told.findLast((one) => one.id === id)?.ready);
    }, "both were told as ready again");
  });

  it("that are limited cannot start more processes than they may", async () => {
    await lab.run(shell("forks", "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 300 & done; wait", { resources: { processes: 6 } }));
    await until(async () => (await logs("forks")).some((line) => /fork|Cannot|Resource/i.test(line.text)), "it was refused");
  });

  it("of another installation on the same daemon are nobody's business here", async () => {
    const { Id } = await lab.api.json<{ Id: string }>("POST", "/containers/create", {
      body: { Image: lab.image, Cmd: ["sleep", "300"], Labels: { "berth.installation": "somebody-else", "berth.component": "web" } },
    });
    await lab.processes.kill("agent");
    await lab.upAgent();
    const all: string[] = [];
    for await (const one of lab.engine.list(never)) all.push(one.ref.component);
    expect(all).not.toContain("web");
    expect((await lab.api.json<{ Id: string }[]>("GET", "/containers/json", { query: { all: true } })).map((one) => one.Id)).toContain(Id);
    await lab.api.json("DELETE", `/containers/${Id}`, { query: { force: true } });
  });

  it("leave no complaint of the agent but those that were provoked", () => {
    const complaints = lab.processes.complaints
      .split("\n")
      .filter(
        (line) => line !== "" && !/daemon away|output not read|not looked at|daemon does not run|closed the connection|cut off/.test(line),
      );
    expect(complaints).toEqual([]);
  });
});
