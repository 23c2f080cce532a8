// What becomes of a call when the server, or what lies in between, has a bad day: real connections with TLS to a server that the test makes.
import { createServer as createTcp, type AddressInfo, type Socket } from "node:net";
import { inspect } from "node:util";
import { afterEach, describe, expect, it } from "vitest";
import type { ClusterAccess } from "../core/kubeconfig.ts";
import { testCertificate, type TestCertificateOptions } from "../edge/testing/certificates.ts";
import { KubeApi } from "./api.ts";
import { KubeError, KubeProtocolError } from "./errors.ts";
import { BadServer, json, refusal, secretToken } from "./testing/server.ts";

const made: { close(): Promise<void> | void }[] = [];
afterEach(async () => {
  for (const one of made.splice(0).reverse()) await one.close();
});

function apiTo(access: ClusterAccess): KubeApi {
  const api = new KubeApi(access);
  made.push(api);
  return api;
}

async function serve(
  listener: Parameters<typeof BadServer.start>[0],
  certificate?: TestCertificateOptions,
): Promise<{ server: BadServer; api: KubeApi }> {
  const server = await BadServer.start(listener, certificate);
  made.push({ close: () => server[Symbol.asyncDispose]() });
  return { server, api: apiTo(server.access) };
}

async function failure(promise: Promise<unknown>): Promise<Error> {
  const error = await promise.then(
    (value) => new Error(`it succeeded: ${JSON.stringify(value)}`),
    (thrown: unknown) => thrown as Error,
  );
  expect(inspect(error, { depth: 9, showHidden: true })).not.toContain(secretToken);
  return error;
}

const pod = { kind: "Pod", namespace: "shop", name: "web" } as const;
const object = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "web", namespace: "shop" }, data: { a: "1" } };

describe("a refusal", () => {
  it("has its status, reason and words", async () => {
    const { api } = await serve((_request, response) =>
      json(response, 403, refusal(403, "Forbidden", { details: { name: "web", kind: "pods" } })),
    );
    const error = await failure(api.get(pod));
    expect(error).toBeInstanceOf(KubeError);
    expect(error).toMatchObject({
      status: 403,
      reason: "Forbidden",
      message: "Forbidden, it says",
      details: { name: "web", kind: "pods" },
      conflicts: [],
    });
  });

  it("is absence when it is a 404, and only then", async () => {
    let status = 404;
    const { api } = await serve((_request, response) => json(response, status, refusal(status, "NotFound")));
    expect(await api.find(pod)).toBeUndefined();
    expect(await api.delete(pod)).toBe(false);
    expect(await failure(api.get(pod))).toMatchObject({ status: 404 });
    status = 403;
    expect(await failure(api.find(pod))).toMatchObject({ status: 403 });
    expect(await failure(api.delete(pod))).toMatchObject({ status: 403 });
  });

  it("names the fields that others own", async () => {
    const causes = [
      { reason: "FieldManagerConflict", message: 'conflict with "kubectl-client-side-apply" using apps/v1', field: ".spec.replicas" },
      { reason: "FieldManagerConflict", message: 'conflict with "a \\"b\\"" with subresource "scale"', field: ".spec.x" },
      { reason: "Other", message: "nothing of it" },
    ];
    const { api } = await serve((_request, response) => json(response, 409, refusal(409, "Conflict", { details: { causes } })));
    expect(await failure(api.apply(object))).toMatchObject({
      conflicts: [
        { field: ".spec.replicas", manager: "kubectl-client-side-apply" },
        { field: ".spec.x", manager: 'a \\"b\\"' },
      ],
    });
  });

  it("says what a proxy in between says, in bounds", async () => {
    const { api } = await serve((_request, response) => response.writeHead(502).end(`<html>${"x".repeat(1_000_000)}`));
    const error = await failure(api.get(pod));
    expect(error).toMatchObject({ status: 502, reason: "" });
    expect(error.message).toHaveLength(2_000);
  });

  it("is no crash when its fields are of other types", async () => {
    const { api } = await serve((_request, response) =>
      json(response, 422, { message: 7, reason: [], details: { causes: [null, 1, { field: {} }], retryAfterSeconds: "x" } }),
    );
    expect(await failure(api.get(pod))).toMatchObject({ status: 422, message: "status 422", reason: "" });
  });

  it("is of who asks when it is a 401", async () => {
    const { api } = await serve((_request, response) => json(response, 401, refusal(401, "Unauthorized")));
    expect(await failure(api.get(pod))).toMatchObject({ name: "KubeUnreachable", code: "unauthorized" });
    expect(await failure(api.stream("/api/v1/pods"))).toMatchObject({ code: "unauthorized" });
  });
});

describe("being asked to come later", () => {
  const busyUntil = (times: number, status: number, retryAfter: string) => {
    let asked = 0;
    return serve((_request, response) => {
      if (++asked > times) json(response, 200, { kind: "Pod", asked });
      else json(response, status, refusal(status, "TooManyRequests"), { "retry-after": retryAfter });
    });
  };

  it.each([429, 503])("waits as long as it is told after a %i, and asks again", async (status) => {
    const { api } = await busyUntil(1, status, "1");
    const began = performance.now();
    expect(await api.get(pod)).toMatchObject({ asked: 2 });
    expect(performance.now() - began).toBeGreaterThanOrEqual(1_000);
  });

  it("does again whatever was not done: 429; and never creates or deletes again after a 503", async () => {
    const calls = [
      (one: KubeApi) => one.create(object),
      (one: KubeApi) => one.delete(pod),
      (one: KubeApi) => one.merge(pod, {}),
      (one: KubeApi) => one.replace(object),
      (one: KubeApi) => one.jsonPatch(pod, []),
    ];
    for (const call of [(one: KubeApi) => one.apply(object), ...calls]) {
      const { api, server } = await busyUntil(1, 429, "0");
      await call(api);
      expect(server.asked).toHaveLength(2);
    }
    for (const call of calls) {
      const { api, server } = await busyUntil(100, 503, "0");
      expect(await failure(call(api))).toMatchObject({ status: 503, retryAfter: 0 });
      expect(server.asked).toHaveLength(1);
    }
  });

  it("gives up after some attempts", async () => {
    const { api, server } = await busyUntil(1_000, 503, "0");
    expect(await failure(api.get(pod))).toMatchObject({ status: 503 });
    expect(server.asked).toHaveLength(9);
  });

  it("does not wait for what its time does not reach", async () => {
    const { api } = await busyUntil(1, 429, "30");
    const began = performance.now();
    expect(await failure(api.get(pod, { timeout: 25_000 }))).toMatchObject({ status: 429, retryAfter: 30_000 });
    expect(performance.now() - began).toBeLessThan(12_500);
  });

  it("ends with the caller's signal while it waits", async () => {
    const { api } = await busyUntil(1, 429, "30");
    const reason = new Error("not wanted any more");
    expect(await failure(api.get(pod, { signal: abortAfter(100, reason) }))).toBe(reason);
  });

  it.each([500, 502, 503])(
    "asks a server in trouble again a few times after a %i, within a second, and changes nothing twice",
    async (status) => {
      let asked = 0;
      const { api } = await serve((_request, response) => {
        asked += 1;
        if (asked % 4 === 0) json(response, 200, { kind: "Pod", asked });
        else json(response, status, refusal(status, "InternalError"));
      });
      expect(await api.get(pod)).toMatchObject({ asked: 4 });
      expect(await api.apply(object)).toMatchObject({ asked: 8 });
      expect(await failure(api.create(object))).toMatchObject({ status });
      expect(asked).toBe(9);
      const down = await serve((_request, response) => json(response, status, refusal(status, "InternalError")));
      const began = performance.now();
      expect(await failure(down.api.get(pod))).toMatchObject({ status });
      expect(down.server.asked).toHaveLength(4);
      // And what a busy machine adds.
      expect(performance.now() - began).toBeLessThan(10_000);
    },
  );
});

function abortAfter(ms: number, reason: Error): AbortSignal {
  const controller = new AbortController();
  setTimeout(() => controller.abort(reason), ms);
  return controller.signal;
}

describe("nobody answers", () => {
  it("tells apart why", async () => {
    const authority = testCertificate({ subject: "another authority", isAuthority: true });
    const { server, api } = await serve((_request, response) => json(response, 200, { ok: true }));
    expect(await api.get(pod)).toEqual({ ok: true });
    const day = 86_400_000;
    const expired = await serve(() => undefined, { notBefore: new Date(Date.now() - 2 * day), notAfter: new Date(Date.now() - day) });
    const early = await serve(() => undefined, { notBefore: new Date(Date.now() + day) });
    const elsewhere = await serve(() => undefined, { hosts: ["elsewhere.example"] });
    const plain = await tcp((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
    const cutting = await tcp((socket) => socket.destroy());
    const gone = await tcp(() => undefined);
    await gone.close();
    const to = (address: string, ca = server.access.ca ?? ""): Promise<Error> =>
      failure(apiTo({ ...server.access, server: address, ca }).get(pod));
    expect(await to(server.access.server, authority.certificate)).toMatchObject({ code: "certificate_not_trusted" });
    expect(await failure(expired.api.get(pod))).toMatchObject({ code: "certificate_expired" });
    expect(await failure(early.api.get(pod))).toMatchObject({ code: "certificate_expired" });
    expect(await failure(elsewhere.api.get(pod))).toMatchObject({ code: "certificate_wrong_name" });
    expect(await to(`https://localhost:${String(plain.port)}`)).toMatchObject({ code: "tls_failed" });
    expect(await to(`https://127.0.0.1:${String(cutting.port)}`)).toMatchObject({ code: "cut" });
    expect(await to(`https://localhost:${String(gone.port)}`)).toMatchObject({ code: "refused" });
    expect(await to("https://no-such-host.invalid:6443")).toMatchObject({ code: "name_not_found" });
  });

  it("takes the name that the certificate has, when it is told", async () => {
    const { server } = await serve((_request, response) => json(response, 200, {}), { hosts: ["kubernetes.default.svc"] });
    expect(await failure(apiTo(server.access).get(pod))).toMatchObject({ code: "certificate_wrong_name" });
    expect(await apiTo({ ...server.access, serverName: "kubernetes.default.svc" }).get(pod)).toEqual({});
    const { ca: _ca, ...anybody } = server.access;
    expect(await apiTo({ ...anybody, insecure: true }).get(pod)).toEqual({});
  });

  it("gives up when the answer does not begin, or does not end", async () => {
    const silent = await serve(() => undefined);
    const slow = await serve((_request, response) => response.writeHead(200, { "content-type": "application/json" }).write('{"a":'));
    for (const { api } of [silent, slow]) {
      const began = performance.now();
      expect(await failure(api.get(pod, { timeout: 300 }))).toMatchObject({ name: "KubeUnreachable", code: "timed_out" });
      // A call has half a minute otherwise.
      expect(performance.now() - began).toBeLessThan(20_000);
    }
  });

  it("tells of a connection that broke in the middle of an answer", async () => {
    let asked = 0;
    const { api } = await serve((_request, response) => {
      asked++;
      response.writeHead(200, { "content-length": "1000" }).write("{", () => response.destroy());
    });
    expect(await failure(api.create(object))).toMatchObject({ name: "KubeUnreachable", code: "cut" });
    expect(asked).toBe(1);
    // A question may be asked a few times more.
    expect(await failure(api.get(pod))).toMatchObject({ code: "cut" });
    expect(asked).toBe(5);
  });

  it("asks again on a new connection when the server gave up the kept one", async () => {
    let connections = 0;
    const { api, server } = await serve((request, response) => {
      if (request.socket.listenerCount("close") > 0 && connections++ === 1) request.socket.destroy();
      else json(response, 200, { ok: true });
    });
    await api.get(pod);
    expect(await api.get(pod)).toEqual({ ok: true });
    expect(server.asked).toHaveLength(3);
  });

  it("ends with the caller's signal, and leaves no connection behind", async () => {
    const { api, server } = await serve(() => undefined);
    const reason = new Error("not wanted any more");
    expect(await failure(api.get(pod, { signal: abortAfter(50, reason) }))).toBe(reason);
    expect(await failure(api.get(pod, { signal: AbortSignal.abort(reason) }))).toBe(reason);
    await expect.poll(() => server.sockets.size, { timeout: 30_000 }).toBe(0);
  });
});

async function tcp(take: (socket: Socket) => void): Promise<{ port: number; close(): Promise<void> }> {
  const server = createTcp((socket) => {
    socket.on("error", () => undefined);
    socket.on("data", () => take(socket));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, resolve);
  });
  const close = (): Promise<void> => new Promise((resolve) => server.close(() => resolve()));
  made.push({ close });
  return { port: (server.address() as AddressInfo).port, close };
}

describe("an answer that is none", () => {
  it.each(["<html>", '{"a":', "\u0000\u0001"])("is no object: %j", async (body) => {
    const { api } = await serve((_request, response) => response.end(body));
    expect(await failure(api.get(pod))).toBeInstanceOf(KubeProtocolError);
  });

  it("is not read beyond its bound", async () => {
    const chunk = Buffer.alloc(1024 * 1024, 0x20);
    let sent = 0;
    const { api } = await serve((_request, response) => {
      const more = (): void => {
        while (!response.destroyed && response.write(chunk)) sent++;
      };
      response.on("drain", more);
      more();
    });
    expect(await failure(api.get(pod))).toBeInstanceOf(KubeProtocolError);
    expect(sent).toBeLessThan(100);
  });
});

describe("connections", () => {
  it("are bounded, and streams keep no call waiting", async () => {
    let [now, most] = [0, 0];
    const { api } = await serve((request, response) => {
      if (request.url?.includes("watch") === true) {
        response.writeHead(200).write("{}\n");
        return;
      }
      most = Math.max(most, ++now);
      setTimeout(() => {
        now--;
        json(response, 200, {});
      }, 20);
    });
    const controller = new AbortController();
    const streams = await Promise.all(Array.from({ length: 40 }, () => api.stream("/api/v1/pods?watch=1", { signal: controller.signal })));
    const reading = streams.map(async (stream) => {
      for await (const _chunk of stream);
    });
    await Promise.all(Array.from({ length: 100 }, () => api.get(pod)));
    expect(most).toBeGreaterThan(4);
    expect(most).toBeLessThanOrEqual(16);
    controller.abort(new Error("done"));
    const ends = await Promise.allSettled(reading);
    expect(ends.every((end) => end.status === "rejected" && (end.reason as Error).message === "done")).toBe(true);
  });

  it("send the token as it is now, and never to a message", async () => {
    const seen: (string | undefined)[] = [];
    const { server } = await serve((request, response) => {
      seen.push(request.headers.authorization);
      json(response, 400, refusal(400, "BadRequest"));
    });
    const tokens = [`${secretToken}-1`, `${secretToken}-2`];
    const api = new KubeApi(server.access, { token: async () => tokens.shift() ?? "" });
    made.push(api);
    await failure(api.get(pod));
    await failure(api.get(pod));
    expect(seen).toEqual([`Bearer ${secretToken}-1`, `Bearer ${secretToken}-2`]);
  });
});

describe("what is sent", () => {
  it("is what the API wants for each way to write", async () => {
    const sent: unknown[] = [];
    const { api } = await serve((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        sent.push([request.method, request.url, request.headers["content-type"], JSON.parse(Buffer.concat(chunks).toString() || "null")]);
        json(response, 200, {});
      });
    });
    const ref = { kind: "ConfigMap", namespace: "shop", name: "web" } as const;
    const path = "/api/v1/namespaces/shop/configmaps";
    await api.create(object);
    await api.apply(object, { force: true, dryRun: true });
    await api.merge(ref, { data: { a: null } });
    await api.jsonPatch(ref, [{ op: "remove", path: "/data/a" }]);
    await api.replace(object);
    await api.delete(ref, { grace: 0, propagation: "Foreground", uid: "u", resourceVersion: "7" });
    expect(sent).toEqual([
      ["POST", `${path}?fieldManager=berth`, "application/json", object],
      ["PATCH", `${path}/web?fieldManager=berth&force=true&dryRun=All`, "application/apply-patch+yaml", object],
      ["PATCH", `${path}/web?fieldManager=berth`, "application/merge-patch+json", { data: { a: null } }],
      ["PATCH", `${path}/web?fieldManager=berth`, "application/json-patch+json", [{ op: "remove", path: "/data/a" }]],
      ["PUT", `${path}/web?fieldManager=berth`, "application/json", object],
      [
        "DELETE",
        `${path}/web`,
        "application/json",
        {
          apiVersion: "v1",
          kind: "DeleteOptions",
          gracePeriodSeconds: 0,
          propagationPolicy: "Foreground",
          preconditions: { uid: "u", resourceVersion: "7" },
        },
      ],
    ]);
    expect(() => api.create({ ...object, kind: "Nothing" })).toThrow(TypeError);
  });
});
