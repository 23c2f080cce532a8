// What a cluster says of a release that it was asked about too early, and what it says of one that it does not take.
import { expect, it } from "vitest";
import type { KubeApi } from "../../kubernetes/api.ts";
import { KubeError } from "../../kubernetes/errors.ts";
import { never } from "../conformance/lab.ts";
import type { SecurityLevel } from "./surroundings.ts";
import { tryOut } from "./trials.ts";

const pod = { apiVersion: "v1", kind: "Pod", metadata: { name: "web--try", namespace: "berth-shop" } };
const noAccount = 'pods "web--try" is forbidden: error looking up service account berth-shop/default: serviceaccount "default" not found';
const violates = (level: string) =>
  `pods "web--try" is forbidden: violates PodSecurity "${level}:latest": hostPath volumes (volume "host")`;

/** Refuses with these words, one after the other, and takes what comes then. */
async function tried(words: string[], level: SecurityLevel | undefined): Promise<number> {
  let asked = 0;
  const create = (): Promise<never> => {
    asked += 1;
    const message = words.shift();
    return message === undefined ? Promise.resolve(undefined as never) : Promise.reject(new KubeError(403, { message }));
  };
  await tryOut({ create } as Pick<KubeApi, "create">, [pod], () => Promise.resolve(level), never);
  return asked;
}

it("asks again while the account of a new namespace is on its way, and the level that was raised is not heard of", async () => {
  expect(await tried([noAccount, noAccount, violates("baseline")], "privileged")).toBe(4);
});

it("takes a refusal by the level that the namespace has, or that somebody else has set, for the cluster's word", async () => {
  await expect(tried([violates("baseline")], "baseline")).rejects.toThrow(/violates PodSecurity "baseline/);
  await expect(tried([violates("restricted")], undefined)).rejects.toThrow(/violates PodSecurity "restricted/);
  await expect(tried(["exceeded quota: small"], "privileged")).rejects.toThrow(/exceeded quota/);
});
