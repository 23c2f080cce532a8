// What counts as somebody's change of an object, whose it is by `managedFields`, and the patch that takes back that and nothing else.
import { describe, expect, it } from "vitest";
import type { ManagedFields } from "../../kubernetes/objects.ts";
import { changesOf, differenceOf, ofOthers, patchOf } from "./differences.ts";

const put = {
  spec: {
    template: {
      containers: [
        {
          name: "web",
          image: "a",
          env: [
            { name: "ONE", value: "1" },
            { name: "NONE", value: "" },
          ],
          args: ["x", "y"],
        },
      ],
    },
  },
};
const live = (container: object, more: object = {}) => ({
  spec: {
    template: {
      containers: [
        { name: "mesh" },
        { name: "web", image: "a", env: [{ name: "ONE", value: "1" }, { name: "NONE" }], args: ["x", "y"], ...container },
      ],
    },
    ...more,
  },
});
const pathsOf = (found: unknown): string[] => changesOf(put, found).map((change) => differenceOf("", change, []).path);
const at = "spec.template.containers[web]";

describe("changes", () => {
  it("are what was put and is otherwise; what only stands there is somebody else's", () => {
    expect(pathsOf(live({ terminationMessagePath: "/dev/null" }, { replicas: 3 }))).toEqual([]);
    expect(pathsOf(live({ image: "b" }))).toEqual([`${at}.image`]);
    expect(pathsOf(live({ args: ["x"] }))).toEqual([`${at}.args`]);
    expect(pathsOf(live({ args: ["x", "z"] }))).toEqual([`${at}.args[1]`]);
    expect(pathsOf({ spec: { template: { containers: [{ name: "mesh" }] } } })).toEqual([at]);
  });

  it("are variables that were added, too: a program has the ones that Berth gives it", () => {
    expect(
      pathsOf(
        live({
          env: [
            { name: "MORE", value: "2" },
            { name: "ONE", value: "1" },
          ],
        }),
      ),
    ).toEqual([`${at}.env[NONE]`, `${at}.env[MORE]`]);
  });

  it("are put back where they stand, from the end, and only in the object that was looked at", () => {
    const found = live({ image: "b", env: [{ name: "MORE" }, { name: "NONE" }, { name: "LAST" }] });
    expect(patchOf(changesOf(put, found), "7")).toEqual([
      { op: "test", path: "/metadata/resourceVersion", value: "7" },
      { op: "replace", path: "/spec/template/containers/1/image", value: "a" },
      { op: "add", path: "/spec/template/containers/1/env/-", value: { name: "ONE", value: "1" } },
      { op: "remove", path: "/spec/template/containers/1/env/2" },
      { op: "remove", path: "/spec/template/containers/1/env/0" },
    ]);
    const labels = changesOf({ metadata: { labels: { "a/b~c": "1" } } }, { metadata: { labels: {} } });
    expect(patchOf(labels, "7")[1]).toEqual({ op: "add", path: "/metadata/labels/a~1b~0c", value: "1" });
  });
});

describe("who changed it", () => {
  const owned = (manager: string, time: string, container: object): ManagedFields => ({
    manager,
    time,
    operation: "Update",
    fieldsV1: { "f:spec": { "f:template": { "f:containers": { 'k:{"name":"web"}': container } } } },
  });
  const found = live({ image: "b", args: ["z"] });
  const changes = changesOf(put, found);

  it("is who owns the field, or all of a list that is one whole; the newest of several", () => {
    const managed = [
      owned("kubectl-edit", "2026-01-01T00:00:00Z", { "f:image": {} }),
      owned("kubectl-set", "2026-01-02T00:00:00Z", { ".": {}, "f:image": {}, "f:args": {} }),
    ];
    expect(changes.map((change) => differenceOf("Deployment web--a", change, managed))).toEqual([
      { object: "Deployment web--a", path: `${at}.image`, wanted: "a", found: "b", by: "kubectl-set", at: "2026-01-02T00:00:00Z" },
      {
        object: "Deployment web--a",
        path: `${at}.args`,
        wanted: '["x","y"]',
        found: '["z"]',
        by: "kubectl-set",
        at: "2026-01-02T00:00:00Z",
      },
    ]);
  });

  it("is nobody where Berth's own write left it so, as a webhook does that rewrites images", () => {
    const managed = [owned("berth", "2026-01-01T00:00:00Z", { "f:image": {} })];
    expect(ofOthers(changes, managed).map(({ steps }) => steps.at(-1))).toEqual(["args"]);
  });
});
