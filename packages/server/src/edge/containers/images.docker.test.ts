// Images from a real registry: pulled by their digest with credentials that nothing keeps, and every reason why one cannot be had.
import { createHash, randomUUID } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { importImage } from "../../builders/bases/import.ts";
import type { Builder, BuildEvent, BuildRequest } from "../../builders/builder.ts";
import { pushing } from "../../builders/image/pushing.ts";
import { pushImage } from "../../builders/image/push.ts";
import { debianMissing, debianTar } from "../../builders/testing/debian.ts";
import { folderTar, streamOf } from "../../builders/testing/tarball.ts";
import type { RegistryLogin } from "../../core/image/reference.ts";
import { dockerdMissing } from "../../docker/testing/daemon.ts";
import { registryMissing, startRegistry, type TestRegistry } from "../../docker/testing/registry.ts";
import { StillPreparing, type Pulling, type ResolvedImage } from "../../engines/engine.ts";
import { installation, never } from "../testing/engine-lab.ts";
import { ContainersLab, until } from "./testing/lab.ts";

const missing = dockerdMissing() ?? debianMissing() ?? registryMissing();
const patience = { trouble: 4_000, stalled: 120_000, pause: 100 };

describe.skipIf(missing !== undefined)(`images of a registry${missing === undefined ? "" : ` (${missing})`}`, () => {
  let lab: ContainersLab;
  let registry: TestRegistry;
  let login: RegistryLogin;
  beforeAll(() => debianTar(), 600_000);
  beforeAll(async () => {
    [lab, registry] = await Promise.all([ContainersLab.open("docker"), startRegistry()]);
    login = { ...registry.login, plainHttp: true };
  });
  afterEach(() => {
    registry.fault = undefined;
    lab.logins.clear();
  });
  afterAll(async () => {
    await lab?.[Symbol.asyncDispose]();
    await registry?.[Symbol.asyncDispose]();
  });

  const say = (): void => undefined;
  const know = (password = login.password, readable = true): void => void lab.logins.set(registry.host, { ...login, password, readable });
  /** A small image with so many bytes that no compression makes smaller. */
  const made = async (bytes = 1_000): Promise<string> => {
    const reference = `berth-test/small:${randomUUID()}`;
    const content = Buffer.concat(
      Array.from({ length: Math.ceil(bytes / 64) }, (_, n) =>
        createHash("sha512")
          .update(`${reference}${String(n)}`)
          .digest(),
      ),
    );
    return importImage(lab.api, streamOf(await folderTar({ "in-it": content })), { reference });
  };
  /** In the registry, and not on the host. */
  const pushed = async (repository: string, bytes?: number): Promise<string> => {
    const image = await made(bytes);
    const done = await pushImage(lab.api, { image, repository: `${registry.host}/${repository}`, tag: "1", login, say }, never);
    if (!done.ok) throw new Error(JSON.stringify(done.cause));
    await forget(image);
    return done.reference;
  };
  const forget = (image: string): Promise<unknown> => lab.api.json("DELETE", `/images/${image}`, { query: { force: true } });
  const prepare = (reference: string): Promise<void> => lab.prepare(lab.workload({ artifact: { kind: "image", reference } }));
  /** Asked as often as it takes. */
  const resolve = async (name: string): Promise<ResolvedImage> => {
    for (;;)
      try {
        return await lab.engine.resolveImage(name, never);
      } catch (error) {
        if (!(error instanceof StillPreparing)) throw error;
      }
  };
  const failure = (code: string, retryable: boolean): object => ({ failure: { code }, retryable });

  it("are resolved and pulled by digest with credentials, and refused without, with wrong and with unreadable ones", async () => {
    const reference = await pushed("private/web");
    const name = `${registry.host}/private/web:1`;
    await expect(prepare(reference)).rejects.toMatchObject(failure("image_denied", false));
    await expect(resolve(name)).rejects.toMatchObject(failure("image_denied", false));
    know("wrong");
    await expect(prepare(reference)).rejects.toMatchObject(failure("image_denied", false));
    know("", false);
    await expect(prepare(reference)).rejects.toMatchObject(failure("registry_unreadable", false));
    know();
    expect(await resolve(name)).toMatchObject({ reference });
    await prepare(reference);
    expect(await lab.api.json("GET", `/images/${reference}/json`)).toMatchObject({ RepoDigests: [reference] });
    // Once it is here, nobody has to be asked.
    lab.logins.clear();
    await prepare(reference);
  });

  it("leave no password in any container and in no file", async () => {
    know();
    await prepare(await pushed("private/quiet"));
    await lab.run(lab.workload({ ref: { stack: "shop", component: "quiet" } }));
    await lab.instance((one) => one.ready, "it runs", undefined, { stack: "shop", component: "quiet" });
    const all = await lab.api.json<{ Id: string }[]>("GET", "/containers/json", { query: { all: true } });
    for (const { Id } of all) expect(JSON.stringify(await lab.api.json("GET", `/containers/${Id}/json`))).not.toContain(login.password);
    const files = readdirSync(lab.home, { recursive: true, withFileTypes: true }).filter((one) => one.isFile());
    expect(files.length).toBeGreaterThan(0);
    for (const file of files) expect(contentOf(join(file.parentPath, file.name))).not.toContain(login.password);
  });

  it("say what is not there: a name, a tag, a digest that the registry has lost, and another machine's processor", async () => {
    know();
    await expect(resolve(`${registry.host}/nobody/has:1`)).rejects.toMatchObject(failure("image_not_found", false));
    const reference = await pushed("private/lost");
    expect(await lab.engine.holdsImage(reference, never)).toBe(true);
    const digest = reference.slice(reference.indexOf("@") + 1);
    expect((await registry.ask("DELETE", `/v2/private/lost/manifests/${digest}`)).status).toBe(202);
    await expect(prepare(reference)).rejects.toMatchObject(failure("image_lost", false));
    expect(await lab.engine.holdsImage(reference, never)).toBe(false);

    const own = await pushed("private/far");
    const manifest = await registry.ask("GET", "/v2/private/far/manifests/1", {
      accept: "application/vnd.docker.distribution.manifest.v2+json",
    });
    const mediaType = manifest.headers.get("content-type") ?? "";
    const size = (await manifest.text()).length;
    const type = "application/vnd.docker.distribution.manifest.list.v2+json";
    const platform = { os: "linux", architecture: "s390x" };
    const list = { schemaVersion: 2, mediaType: type, manifests: [{ mediaType, size, digest: own.slice(own.indexOf("@") + 1), platform }] };
    expect((await registry.ask("PUT", "/v2/private/far/manifests/list", { body: JSON.stringify(list), type })).status).toBe(201);
    const { reference: far } = await resolve(`${registry.host}/private/far:list`);
    await expect(prepare(far)).rejects.toMatchObject(failure("image_other_platform", false));
  });

  it("are tried again later when the registry is in trouble, and had then", async () => {
    know();
    const reference = await pushed("private/trouble", 3_000_000);
    registry.fault = (_method, path) => (path.includes("/manifests/") ? { status: 500 } : undefined);
    await expect(prepare(reference)).rejects.toMatchObject(failure("image_pull_failed", true));
    // dockerd itself goes on where a download was cut off.
    let cuts = 0;
    registry.fault = (_method, path) => (path.includes("/blobs/") && (cuts += 1) <= 2 ? { cutAfter: 500_000 } : undefined);
    await prepare(reference);
    expect(cuts).toBeGreaterThan(2);
  });

  it("keep nobody waiting when they are slow, and come though the one who asked is gone", async () => {
    know();
    const reference = await pushed("private/slow");
    const held = Promise.withResolvers<void>();
    registry.fault = (method, path) => (method === "GET" && path.includes("/blobs/") ? { until: held.promise } : undefined);
    const workload = lab.workload({ ref: { stack: "shop", component: "slow" }, artifact: { kind: "image", reference } });
    const asked = Date.now();
    await expect(lab.engine.prepare(workload, lab.fence(), never)).rejects.toBeInstanceOf(StillPreparing);
    expect(Date.now() - asked).toBeLessThan(60_000);
    const left = new AbortController();
    const second = lab.engine.prepare(workload, lab.fence(), left.signal);
    setTimeout(() => left.abort(new Error("killed")), 100);
    await expect(second).rejects.toThrow();
    held.resolve();
    await until(async () => {
      const there = await lab.api.json<{ RepoDigests?: string[] }[]>("GET", "/images/json");
      return there.some((one) => one.RepoDigests?.includes(reference) === true);
    }, "it comes");
    // One pull, whoever asked and left.
    expect(registry.requests.filter((one) => one.startsWith("GET") && one.includes("private/slow/blobs")).length).toBeLessThanOrEqual(2);
  });

  it("say how far they are while they come, and for how long nothing has come", async () => {
    know();
    const bytes = 12_000_000;
    const reference = await pushed("private/large", bytes);
    const held = Promise.withResolvers<void>();
    const half = { until: held.promise, after: bytes / 2 };
    registry.fault = (method, path) => (method === "GET" && path.includes("/blobs/") ? half : undefined);
    const workload = lab.workload({ ref: { stack: "shop", component: "large" }, artifact: { kind: "image", reference } });
    const told = async (): Promise<Pulling | undefined> => {
      const asked = lab.engine.prepare(workload, lab.fence(), never);
      const still = await asked.then(
        () => undefined,
        (error: unknown) => error,
      );
      if (still !== undefined && !(still instanceof StillPreparing)) throw still as Error;
      return still?.pull;
    };
    const last = await until(async () => {
      const state = await told();
      if (state === undefined) throw new Error("it came though it is held back");
      // A daemon that is held up is quiet as well.
      return state.bytes > bytes * 0.3 && state.quiet >= 5_000 && state;
    }, "nothing comes any more");
    expect(last).toMatchObject({ image: reference, layers: 1, there: 0 });
    // Compressed: about as much as was put in, and half of it is here but for what the daemon has not counted yet.
    expect(last.total).toBeGreaterThan(bytes * 0.9);
    expect(last.bytes).toBeGreaterThan(bytes * 0.3);
    expect(last.bytes).toBeLessThan(bytes * 0.6);
    held.resolve();
    await prepare(reference);
    expect(await told()).toBeUndefined();
  });

  it("that Berth built and nobody needs leave the host; everybody else's stay, and so does what a container is made of", async () => {
    const prefix = `${registry.host}/berth`;
    const build = async (name: string, of = installation, berthBuild = name): Promise<string> => {
      const reference = `berth/${name}:${berthBuild}`;
      const labels = { "berth.installation": of, "berth.build": berthBuild };
      return importImage(lab.api, streamOf(await folderTar({ name })), { reference, labels, cmd: ["/x"] });
    };
    const [old, kept, used, foreign, upon] = [
      await build("old"),
      await build("kept"),
      await build("used"),
      await build("foreign", "another"),
      await build("upon"),
    ];
    // Somebody's own, with the labels of what he built it upon.
    await lab.api.json("POST", `/images/${upon}/tag`, { query: { repo: "mine", tag: "1" } });
    await lab.api.json("POST", `/images/${old}/tag`, { query: { repo: `${prefix}/default/shop/web`, tag: "build-1" } });
    const container = await lab.api.json<{ Id: string }>("POST", "/containers/create", { body: { Image: used } });
    const there = async (image: string): Promise<boolean> =>
      (await lab.api.json<{ Id: string }[]>("GET", "/images/json")).some(({ Id }) => Id === image);
    const sweep = (from: number, before: number): Promise<number> =>
      lab.engine.removeImages({ keep: [kept], from: new Date(from), before: new Date(before), prefix }, never);
    const later = Date.now() + 60_000;
    expect([await sweep(0, Date.now() - 3_600_000), await sweep(later, later)]).toEqual([0, 0]);
    expect(await sweep(0, later)).toBe(1);
    expect(await Promise.all([old, kept, used, foreign, upon].map(there))).toEqual([false, true, true, true, true]);
    await lab.api.json("DELETE", `/containers/${container.Id}`);
    expect(await sweep(0, later)).toBe(1);
    expect(await there(used)).toBe(false);
  });

  describe("are pushed", () => {
    const order = async (repository: string, lines: string[] = [], as: RegistryLogin | undefined = login) => ({
      image: await made(3_000_000),
      repository: `${registry.host}/${repository}`,
      tag: "build-1",
      login: as,
      say: (line: string) => void lines.push(line),
    });

    it("and a second time at no cost, with what is said of it", async () => {
      const lines: string[] = [];
      const one = await order("pushed/web", lines);
      const first = await pushImage(lab.api, one, never, patience);
      expect(first).toMatchObject({
        ok: true,
        reference: expect.stringMatching(/^127\.0\.0\.1:\d+\/pushed\/web@sha256:[0-9a-f]{64}$/) as string,
      });
      expect(lines.join("\n")).toMatch(/^Pushing .*build-1\nLayer [0-9a-f]+ is there \(1 of 1\)\nPushed .*@sha256:/);
      const before = registry.requests.length;
      expect(await pushImage(lab.api, one, never, patience)).toEqual(first);
      expect(registry.requests.slice(before).filter((request) => request.startsWith("PATCH"))).toEqual([]);
    });

    it("though the registry closes half-way and answers 500 for a while", async () => {
      const lines: string[] = [];
      let faults = 0;
      registry.fault = (method, path) => {
        if (method === "PATCH" && (faults += 1) === 1) return { cutAfter: 100_000 };
        return path.includes("/manifests/") && (faults += 1) < 5 ? { status: 500 } : undefined;
      };
      expect(await pushImage(lab.api, await order("pushed/again", lines), never, { ...patience, trouble: 120_000 })).toMatchObject({
        ok: true,
      });
      expect(lines.join("\n")).toMatch(/tried again/);
      expect(faults).toBeGreaterThanOrEqual(5);
    });

    it("or it is said why not", async () => {
      const denied = await pushImage(lab.api, await order("pushed/denied", [], { ...login, password: "wrong" }), never, patience);
      expect(denied).toMatchObject({ ok: false, cause: { code: "image_push_denied", params: { registry: registry.host } } });
      registry.fault = (_method, path) => (path.includes("/manifests/") ? { status: 500 } : undefined);
      const failed = await pushImage(lab.api, await order("pushed/failed"), never, patience);
      expect(failed).toMatchObject({
        ok: false,
        cause: { code: "image_push_failed", params: { reason: expect.stringContaining("500") as string } },
      });
    });

    it("as a part of their build: its deadline ends them, and without a destination nothing is pushed", async () => {
      const { image, repository, tag } = await order("pushed/built");
      const events: BuildEvent[] = [];
      const done = { ok: true, digest: image, size: 1, processes: [], tools: [] } as const;
      const inner = { kind: "image", build: () => Promise.resolve(done) } as unknown as Builder;
      const builder = pushing(inner, { api: lab.api, login: (host) => Promise.resolve(lab.logins.get(host)), clock: () => new Date() });
      const request = { id: "b", deadline: 240_000, secretValues: [], destination: { repository, tag } } as unknown as BuildRequest;
      const build = (over: Partial<BuildRequest> = {}) => builder.build({ ...request, ...over }, (event) => events.push(event), never);
      expect(await builder.build({ ...request, destination: undefined } as unknown as BuildRequest, () => undefined, never)).toEqual(done);
      know("", false);
      expect(await build()).toMatchObject({ ok: false, cause: { code: "registry_unreadable" } });
      know();
      const held = Promise.withResolvers<void>();
      registry.fault = (method) => (method === "PATCH" ? { until: held.promise } : undefined);
      expect(await build({ deadline: 1_000 })).toMatchObject({ ok: false, cause: { code: "build_deadline" } });
      held.resolve();
      registry.fault = undefined;
      const built = await build();
      expect(built).toMatchObject({ ok: true, reference: expect.stringContaining(`${repository}@sha256:`) as string });
      expect(built.ok ? built.reference : "").toContain(built.ok ? built.digest : "-");
      const lines = events.map((event) => (event.type === "log" ? event.line.text : ""));
      expect(lines.join("\n")).toContain(`Pushed ${repository}@`);
      expect(lines.join("\n")).not.toContain(login.password);
    });

    it("until they are cancelled", async () => {
      const held = Promise.withResolvers<void>();
      const cancel = new AbortController();
      registry.fault = (method) => {
        if (method !== "PATCH") return undefined;
        cancel.abort(new Error("enough"));
        return { until: held.promise };
      };
      await expect(pushImage(lab.api, await order("pushed/cancelled"), cancel.signal, patience)).rejects.toThrow("enough");
      held.resolve();
    });
  });
});

/** Nothing of a draft that has become its file meanwhile. */
function contentOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw error;
  }
}
