// What a Forbidden is to an account that has rights in some namespaces only.
import { describe, expect, it } from "vitest";
import { KubeError, KubeUnreachable } from "./errors.ts";
import { answerInsteadOf } from "./forbidden.ts";
import type { KubeObject } from "./objects.ts";

const forbidden = new KubeError(403, { reason: "Forbidden", message: "no" });
const namespace = (over: object = {}): KubeObject => ({ apiVersion: "v1", kind: "Namespace", metadata: { name: "shop", ...over } });
const one = { method: "GET", path: "/apis/apps/v1/namespaces/shop/deployments/web" };
const all = { method: "GET", path: "/api/v1/namespaces/shop/secrets" };
const find = (found: KubeObject | undefined) => (name: string) => {
  expect(name).toBe("shop");
  return Promise.resolve(found);
};
const nobodyAsks = () => Promise.reject(new Error("asked"));

describe("a Forbidden", () => {
  it("is what it is in a namespace that is there", async () => {
    for (const call of [one, all, { ...one, method: "PATCH" }])
      await expect(answerInsteadOf(forbidden, call, find(namespace()))).rejects.toBe(forbidden);
  });

  it("is an empty list, or nothing found, in one that is not", async () => {
    expect(JSON.parse(await answerInsteadOf(forbidden, all, find(undefined)))).toEqual({ metadata: { resourceVersion: "0" }, items: [] });
    for (const call of [one, { ...all, method: "POST" }])
      await expect(answerInsteadOf(forbidden, call, find(undefined))).rejects.toMatchObject({ status: 404, reason: "NotFound" });
  });

  it("says that a namespace goes, which took the rights along", async () => {
    const going = find(namespace({ deletionTimestamp: "2026-01-01T00:00:00Z" }));
    await expect(answerInsteadOf(forbidden, one, going)).rejects.toMatchObject({
      status: 403,
      details: { name: "shop", causes: [{ reason: "NamespaceTerminating" }] },
    });
  });

  it("stays when the namespace may not be looked at; silence is silence", async () => {
    await expect(answerInsteadOf(forbidden, one, () => Promise.reject(new KubeError(403, {})))).rejects.toBe(forbidden);
    const away = new KubeUnreachable("https://10.0.0.1", "refused");
    await expect(answerInsteadOf(forbidden, one, () => Promise.reject(away))).rejects.toBe(away);
  });

  it("is not looked into for what has no namespace, nor is any other error", async () => {
    const paths = ["/api/v1/pods", "/api/v1/namespaces/shop", "/api/v1/namespaces", "/version"];
    for (const path of paths) await expect(answerInsteadOf(forbidden, { method: "GET", path }, nobodyAsks)).rejects.toBe(forbidden);
    const gone = new KubeError(404, {});
    await expect(answerInsteadOf(gone, one, nobodyAsks)).rejects.toBe(gone);
  });
});
