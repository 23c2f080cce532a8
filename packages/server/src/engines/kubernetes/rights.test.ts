// Berth's own binding in a namespace that became a stack's a moment ago, at an API server that has not heard of that.
import { afterEach, expect, it } from "vitest";
import { boundElsewhere } from "@berth/contract/clusterrights.ts";
import { KubeApi } from "../../kubernetes/api.ts";
import { BadServer, json, refusal } from "../../kubernetes/testing/server.ts";
import { never } from "../conformance/lab.ts";
import { ensureRights } from "./rights.ts";

const made: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of made.splice(0).reverse()) await close();
});

/** A server that refuses the binding with these words, one after the other, and takes it then. Gives the number of times that it was asked for it. */
async function bound(words: string[]): Promise<number> {
  let asked = 0;
  let isBound = false;
  const server = await BadServer.start((request, response) => {
    if (request.url?.includes("selfsubjectaccessreviews") === true) return json(response, 201, { status: { allowed: isBound } });
    if (request.url?.includes("selfsubjectreviews") === true)
      return json(response, 201, { status: { userInfo: { username: "system:serviceaccount:ci:berth" } } });
    asked += 1;
    const message = words.shift();
    if (message !== undefined) return json(response, 422, refusal(422, "Invalid", { message }));
    isBound = true;
    json(response, 201, {});
  });
  const api = new KubeApi(server.access);
  made.push(
    () => server[Symbol.asyncDispose](),
    () => api.close(),
  );
  await ensureRights(api, "bazaar", never);
  return asked;
}

it("binds its role once the API server has heard whose the namespace is", async () => {
  const words = `ValidatingAdmissionPolicy 'berth.ci' with binding 'berth.ci' denied request: ${boundElsewhere}`;
  expect(await bound([words, words])).toBe(3);
});

it("takes any other refusal for the cluster's word", async () => {
  await expect(bound(["denied request: Berth binds its role only to itself"])).rejects.toMatchObject({ status: 422 });
});
