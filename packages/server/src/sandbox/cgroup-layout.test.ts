// Where control groups are found and what is written to them, for machines of both versions: texts as their kernels give them.
import { describe, expect, it } from "vitest";
import { counter, findTrees, handedOn, limitFiles, modestFile, type LayoutFacts, type Tree } from "./cgroup-layout.ts";

const line = (at: string, type: string, options: string, root = "/"): string =>
  `31 23 0:27 ${root} ${at} rw,nosuid shared:9 - ${type} cgroup rw,${options}`;
const facts = (over: Partial<LayoutFacts>): LayoutFacts => ({
  mountinfo: "",
  own: "",
  isRoot: true,
  writable: () => true,
  read: () => undefined,
  ...over,
});
const unified = line("/sys/fs/cgroup", "cgroup2", "nsdelegate");
const all = "cpuset cpu io memory hugetlb pids rdma misc\n";

describe("version 2", () => {
  it("as root is one tree from its top, with the controllers it has", () => {
    const read = (file: string): string | undefined => (file === "/sys/fs/cgroup/cgroup.controllers" ? all : undefined);
    expect(findTrees(facts({ mountinfo: unified, own: "0::/system.slice/berth.service\n", read }))).toEqual([
      { version: 2, parent: "/sys/fs/cgroup", controllers: ["memory", "cpu", "pids"] },
    ]);
  });

  it("as an ordinary user begins at the highest folder that was handed over", () => {
    const handed = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service";
    const own = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/berth.service\n";
    const found = findTrees(
      facts({
        mountinfo: unified,
        own,
        isRoot: false,
        writable: (folder) => folder.startsWith(handed),
        read: (file) => (file === `${handed}/cgroup.controllers` ? "memory pids\n" : undefined),
      }),
    );
    expect(found).toEqual([{ version: 2, parent: handed, controllers: ["memory", "pids"] }]);
  });

  it("as an ordinary user is nothing where nothing was handed over, as in a login session", () => {
    expect(
      findTrees(
        facts({
          mountinfo: unified,
          own: "0::/user.slice/user-1000.slice/session-2.scope\n",
          isRoot: false,
          writable: () => false,
          read: () => all,
        }),
      ),
    ).toEqual([]);
  });

  it("is nothing in a container that may not write it, or that shows it without controllers", () => {
    expect(findTrees(facts({ mountinfo: unified, own: "0::/\n", writable: () => false, read: () => all }))).toEqual([]);
    expect(findTrees(facts({ mountinfo: unified, own: "0::/\n", read: () => "\n" }))).toEqual([]);
  });

  it("limits by memory.max, memory.swap.max, cpu.max and pids.max, and hands on what it limits", () => {
    const tree: Tree = { version: 2, parent: "/x", controllers: ["memory", "cpu", "pids"] };
    expect(limitFiles(tree, { memory: 67_108_864, cpu: 1.5, processes: 50 })).toEqual([
      { file: "memory.max", text: "67108864" },
      { file: "memory.swap.max", text: "0", optional: true },
      { file: "cpu.max", text: "150000 100000" },
      { file: "pids.max", text: "50" },
    ]);
    expect(limitFiles({ ...tree, controllers: ["pids"] }, { memory: 1, cpu: 1, processes: 5 })).toEqual([{ file: "pids.max", text: "5" }]);
    expect(handedOn(tree)).toBe("+memory +cpu +pids");
    expect(modestFile(tree)).toEqual({ file: "cpu.weight", text: "10" });
    expect(modestFile({ ...tree, controllers: ["memory"] })).toBeUndefined();
  });
});

describe("version 1", () => {
  const mounts = [
    line("/sys/fs/cgroup/cpu,cpuacct", "cgroup", "cpu,cpuacct"),
    line("/sys/fs/cgroup/memory", "cgroup", "memory"),
    line("/sys/fs/cgroup/pids", "cgroup", "pids"),
    line("/sys/fs/cgroup/systemd", "cgroup", "name=systemd"),
    line("/sys/fs/cgroup/unified", "cgroup2", "nsdelegate"),
  ].join("\n");

  it("is a tree for each controller, or for two that are mounted together; the empty version 2 tree beside them is not used", () => {
    expect(findTrees(facts({ mountinfo: mounts, own: "5:memory:/\n0::/\n", read: () => "" }))).toEqual([
      { version: 1, parent: "/sys/fs/cgroup/cpu,cpuacct", controllers: ["cpu", "cpuacct"] },
      { version: 1, parent: "/sys/fs/cgroup/memory", controllers: ["memory"] },
      { version: 1, parent: "/sys/fs/cgroup/pids", controllers: ["pids"] },
    ]);
  });

  it("leaves to version 2 what only that has, and takes no controller twice", () => {
    const hybrid = [line("/sys/fs/cgroup/memory", "cgroup", "memory"), line("/sys/fs/cgroup/unified", "cgroup2", "nsdelegate")].join("\n");
    expect(
      findTrees(facts({ mountinfo: hybrid, own: "0::/\n", read: () => "memory cpu pids\n" })).map(({ version, controllers }) => [
        version,
        ...controllers,
      ]),
    ).toEqual([
      [1, "memory"],
      [2, "cpu", "pids"],
    ]);
  });

  it("limits memory before memory with swap, since the second may not be less than the first", () => {
    expect(limitFiles({ version: 1, parent: "/x", controllers: ["memory"] }, { memory: 1_048_576 }).map(({ file }) => file)).toEqual([
      "memory.limit_in_bytes",
      "memory.memsw.limit_in_bytes",
    ]);
    expect(limitFiles({ version: 1, parent: "/x", controllers: ["cpu", "cpuacct"] }, { cpu: 0.001 })).toEqual([
      { file: "cpu.cfs_period_us", text: "100000" },
      { file: "cpu.cfs_quota_us", text: "1000" },
    ]);
  });

  it("is read below the part of the tree that a container shows", () => {
    const found = findTrees(
      facts({
        mountinfo: line("/sys/fs/cgroup/memory", "cgroup", "memory", "/docker/abc"),
        own: "4:memory:/docker/abc/berth\n",
        isRoot: false,
        writable: (folder) => folder === "/sys/fs/cgroup/memory/berth",
      }),
    );
    expect(found).toEqual([{ version: 1, parent: "/sys/fs/cgroup/memory/berth", controllers: ["memory"] }]);
  });
});

describe("counters", () => {
  it("are read by their whole word", () => {
    const events = "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 1\n";
    expect([
      counter(events, "oom_kill"),
      counter(events, "oom"),
      counter(events, "max"),
      counter(events, "nothing"),
      counter(undefined, "max"),
    ]).toEqual([2, 3, 12, 0, 0]);
  });
});
