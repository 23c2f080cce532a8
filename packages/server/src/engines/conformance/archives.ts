// What every engine does alike with the content of volumes: out as an archive, in from one, whole or not at all.
import { existsSync } from "node:fs";
import { Readable } from "node:stream";
import { expect, it } from "vitest";
import tar from "tar-stream";
import { never, until, type Lab } from "./lab.ts";

/** What is compared of an entry. */
interface Entry {
  readonly name: string;
  readonly type: string;
  readonly mode: number;
  readonly linkname: string | undefined;
  readonly content: string;
  readonly mtime: number;
  readonly uid: number;
  readonly attribute: string | undefined;
}

const then = new Date(1_000_000_000_000);
const attribute = "SCHILY.xattr.user.berth";

async function archiveOf(add: (pack: tar.Pack) => void): Promise<Buffer> {
  const pack = tar.pack();
  add(pack);
  pack.finalize();
  return bytesOf(pack);
}
const bytesOf = async (stream: AsyncIterable<unknown>): Promise<Buffer> => {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
};
const streamOf = (...parts: Buffer[]): Readable => Readable.from(parts, { objectMode: false });

/** A folder with all kinds of things: by names, without the order in which a file system gives them. */
const full = (): Promise<Buffer> =>
  archiveOf((pack) => {
    const at = { mtime: then, uid: 70, gid: 71 };
    pack.entry({ ...at, name: "./", type: "directory", mode: 0o750 });
    pack.entry({ ...at, name: "./hello.txt", mode: 0o640, pax: { [attribute]: "kept" } }, "hello");
    pack.entry({ ...at, name: "./run", mode: 0o755 }, "#!/bin/sh\n");
    pack.entry({ ...at, name: "./deep", type: "directory", mode: 0o1777 });
    pack.entry({ ...at, name: "./deep/link", type: "symlink", linkname: "../hello.txt" });
    pack.entry({ ...at, name: "./deep/out", type: "symlink", linkname: "/etc/passwd" });
    pack.entry({ ...at, name: "./again", type: "link", linkname: "./hello.txt", mode: 0o640 });
    pack.entry({ ...at, name: "./ünïcode and spaces", mode: 0o600 }, "x".repeat(100_000));
  });

async function entriesOf(archive: Buffer): Promise<Map<string, Entry>> {
  const found = new Map<string, Entry>();
  const parser = tar.extract();
  streamOf(archive).pipe(parser);
  for await (const entry of parser) {
    const { name, type, mode = 0, linkname, mtime, uid = 0, pax } = entry.header;
    const content = (await bytesOf(entry)).toString();
    const plain = name === "." ? "./" : name.replace(/(?<=[^.])\/$/, "");
    found.set(plain, {
      name: plain,
      type: type ?? "",
      mode: mode & 0o7777,
      linkname: linkname ?? undefined,
      content,
      mtime: mtime?.getTime() ?? 0,
      uid,
      attribute: (pax as Readonly<Record<string, string>> | null | undefined)?.[attribute],
    });
  }
  return found;
}

export function archives(lab: Lab): void {
  const volume = (name = "data") => ({ stack: `stack-${(lab.counter += 1)}`, stackName: `${lab.stack}-${lab.counter}`, name });
  const restore = (of: ReturnType<typeof volume>, ...parts: Buffer[]) => lab.engine.volumes.restore(of, streamOf(...parts), never);
  const snapshot = async (of: ReturnType<typeof volume>) => bytesOf(await lab.engine.volumes.snapshot(of.stack, of.name, never));

  it("gives back what was put into a volume: names, modes, links, times, attributes and owners as far as the place has them", async () => {
    const one = volume();
    const archive = await full();
    await restore(one, archive.subarray(0, 700), archive.subarray(700));
    expect(await lab.engine.volumes.list(one.stack, never)).toMatchObject([{ name: "data", usedBy: [] }]);
    const wanted = await entriesOf(archive);
    const found = await entriesOf(await snapshot(one));
    expect([...found.keys()].toSorted()).toEqual([...wanted.keys()].toSorted());
    // Which of two names is the file and which the link to it, is up to the file system.
    const linked = ["./again", "./hello.txt"].map((name) => found.get(name));
    expect(linked.map((entry) => entry?.type ?? "").toSorted()).toEqual(["file", "link"]);
    for (const { name, type, mode, linkname, content, mtime } of wanted.values()) {
      if (name === "./again" || name === "./hello.txt") continue;
      const links = type === "symlink";
      expect(found.get(name), name).toMatchObject({ type, content, mtime, ...(links ? { linkname } : { mode }) });
    }
    expect(linked.find((entry) => entry?.type === "file")).toMatchObject({
      content: "hello",
      mode: 0o640,
      attribute: "kept",
      mtime: then.getTime(),
    });
    const uids = new Set([...found.values()].map(({ uid }) => uid));
    if (lab.place.owners !== "one") expect(uids).toEqual(new Set([70]));
    else expect(uids.size).toBe(1);
    // A second stack's volume of the same name is another volume.
    const other = volume();
    await lab.engine.volumes.restore(other, await lab.engine.volumes.snapshot(one.stack, one.name, never), never);
    const copied = await entriesOf(await snapshot(other));
    expect([...copied.keys()].toSorted()).toEqual([...wanted.keys()].toSorted());
    expect(copied.get("./run")).toMatchObject({ content: "#!/bin/sh\n", mode: 0o755 });
    for (const of of [one, other]) await lab.engine.volumes.remove(of.stack, of.name, never);
    await expect(lab.engine.volumes.snapshot(one.stack, one.name, never)).rejects.toMatchObject({ code: "not_found" });
  });

  it("puts nothing over what is there, and nothing into what is in use", async () => {
    const one = volume();
    await restore(one, await full());
    await expect(restore(one, await full())).rejects.toMatchObject({ code: "volume_not_empty" });
    expect((await entriesOf(await snapshot(one))).get("./run")).toMatchObject({ content: "#!/bin/sh\n" });
    await lab.engine.volumes.remove(one.stack, one.name, never);
    const stackId = `stack-${lab.counter + 1}`;
    const wanted = await lab.up("run", {}, { stackId, volumes: [{ volume: "used", path: "/berth-conformance" }] });
    await until(async () => (await lab.instances(wanted.ref)).find((each) => each.ready), "ready");
    const used = { stack: stackId, stackName: wanted.ref.stack, name: "used" };
    await expect(restore(used, await full())).rejects.toMatchObject({ code: "volume_in_use", params: { component: wanted.ref.component } });
    // Reading it is possible all the same.
    expect([...(await entriesOf(await snapshot(used))).values()].filter(({ type }) => type === "file")).toEqual([]);
    await lab.down(wanted.ref);
    await lab.engine.remove(wanted.ref, lab.fence(), never);
    await until(async () => {
      const all = await lab.engine.volumes.list(stackId, never);
      return all.every(({ usedBy }) => usedBy.length === 0);
    }, "nobody uses it");
    await lab.engine.volumes.remove(stackId, "used", never);
  });

  it("leaves nothing of an archive that breaks off or is none, and takes the whole one afterwards", async () => {
    const one = volume();
    const archive = await full();
    await expect(restore(one, Buffer.from("this is no archive at all"))).rejects.toMatchObject({ code: "archive_refused" });
    const broken = new Readable({
      read() {
        this.push(archive.subarray(0, 4_096));
        this.destroy(new Error("the line went dead"));
      },
    });
    await expect(lab.engine.volumes.restore(one, broken, never)).rejects.toThrow(/the line went dead/);
    // As empty as it was, or not there at all.
    const left = await snapshot(one).then(entriesOf, () => new Map<string, Entry>());
    expect([...left.values()].filter(({ type }) => type !== "directory")).toEqual([]);
    await restore(one, archive);
    expect((await entriesOf(await snapshot(one))).size).toBe(8);
    await lab.engine.volumes.remove(one.stack, one.name, never);
  });

  it("writes nothing outside of the volume, whatever an archive says", async () => {
    const one = volume();
    const hostile = await archiveOf((pack) => {
      pack.entry({ name: "../../../berth-escaped", mode: 0o644 }, "x");
      pack.entry({ name: "out", type: "symlink", linkname: "/tmp" });
      pack.entry({ name: "out/berth-escaped-by-link", mode: 0o644 }, "x");
    });
    await restore(one, hostile).catch(() => undefined);
    expect(["/berth-escaped", "/tmp/berth-escaped", "/tmp/berth-escaped-by-link"].filter((path) => existsSync(path))).toEqual([]);
    await lab.engine.volumes.remove(one.stack, one.name, never);
  });
}
