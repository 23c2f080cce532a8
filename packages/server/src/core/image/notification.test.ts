import { describe, expect, it } from "vitest";
import { readNotification } from "./notification.ts";

const digest = `sha256:${"0a".repeat(32)}`;

/** As each of them sends it, without what nobody reads. */
const event = (action: string, target: object) => ({
  id: "320678d8-ca14-430f-8bb6-4ca139cd83f7",
  timestamp: "2026-03-09T14:44:26.402973972-08:00",
  action,
  target: {
    mediaType: "application/vnd.docker.distribution.manifest.v2+json",
    size: 708,
    digest,
    length: 708,
    url: `http://registry:5000/v2/shop/web/manifests/${digest}`,
    ...target,
  },
  request: {
    id: "6df24a34-0959-4923-81ca-14f09767db19",
    addr: "192.168.64.11:42961",
    host: "registry:5000",
    method: "PUT",
    useragent: "docker",
  },
  actor: { name: "ci" },
  source: { addr: "registry:5000", instanceID: "a53db899-3b4b-4a62-a067-8dd013beaca4" },
});
const hub = {
  callback_url: "https://registry.hub.docker.com/u/shop/web/hook/2141b5bi5i5b02bec211i4eeih0242eg11000a/",
  push_data: { pushed_at: 1_417_566_161, pusher: "ci", tag: "latest" },
  repository: {
    name: "web",
    namespace: "shop",
    repo_name: "shop/web",
    repo_url: "https://registry.hub.docker.com/u/shop/web/",
    status: "Active",
  },
};
const harborData = {
  resources: [{ digest, tag: "v2", resource_url: "harbor.example/shop/web:v2" }],
  repository: { date_created: 1_586_922_308, name: "web", namespace: "shop", repo_full_name: "shop/web", repo_type: "private" },
};
const harbor = { type: "PUSH_ARTIFACT", occur_at: 1_586_922_308, operator: "admin", event_data: harborData };
const cloudEvent = {
  specversion: "1.0",
  id: "66e18103-09c1-41f6-982f-37df223f3eeb",
  source: "/projects/2/webhook/policies/15",
  type: "harbor.artifact.pushed",
  datacontenttype: "application/json",
  time: "2026-04-03T06:04:46Z",
  data: harborData,
  operator: "ci",
};
const github = (tag: string, more: object = {}) => ({
  action: "published",
  package: {
    id: 10_696,
    name: "web",
    namespace: "Shop",
    ecosystem: "CONTAINER",
    package_type: "CONTAINER",
    owner: { login: "Shop" },
    package_version: { version: digest, container_metadata: { tag: { name: tag, digest } }, package_url: `ghcr.io/shop/web:${tag}` },
    registry: { name: "GitHub container registry", type: "CONTAINER", url: "https://ghcr.io/Shop" },
    ...more,
  },
  sender: { login: "ci" },
});
const quay = {
  name: "web",
  repository: "shop/web",
  namespace: "shop",
  docker_url: "quay.io/shop/web",
  homepage: "https://quay.io/repository/shop/web",
  updated_tags: ["latest", "v3"],
};

describe("a notification", () => {
  it.each<[string, unknown, string | undefined, string, (string | undefined)[]]>([
    [
      "of Docker Distribution, and of GitLab",
      {
        events: [
          event("push", { repository: "shop/web" }),
          event("push", { repository: "shop/web", tag: "v1" }),
          event("pull", { repository: "shop/web", tag: "v0" }),
        ],
      },
      undefined,
      "distribution",
      ["v1"],
    ],
    ["of Docker Hub", hub, undefined, "docker-hub", ["latest"]],
    ["of Harbor", harbor, undefined, "harbor", ["v2"]],
    ["of Harbor, as a CloudEvent", cloudEvent, undefined, "harbor", ["v2"]],
    ["of GitHub", github("edge"), "package", "github", ["edge"]],
    [
      "of GitHub, under its other name",
      { action: "published", registry_package: github("edge").package },
      "registry_package",
      "github",
      ["edge"],
    ],
    ["of GitHub, without a tag", github(""), "package", "github", [undefined]],
    ["of Quay", quay, undefined, "quay", ["latest", "v3"]],
  ])("%s says what was pushed", (_of, body, header, format, tags) => {
    expect(readNotification(body, header)).toEqual({ format, pushed: tags.map((tag) => ({ repository: "shop/web", tag })) });
  });

  it.each<[string, unknown, string | undefined]>([
    ["a pull", { events: [event("pull", { repository: "shop/web", tag: "v1" })] }, undefined],
    ["a layer, or an image by its digest", { events: [event("push", { repository: "shop/web" })] }, undefined],
    ["a deletion at Harbor", { ...harbor, type: "DELETE_ARTIFACT" }, undefined],
    [
      "an image at Harbor that has its digest for a tag",
      { ...harbor, event_data: { ...harborData, resources: [{ digest, tag: digest }] } },
      undefined,
    ],
    ["GitHub's first word", { zen: "Keep it logically awesome.", hook_id: 1 }, "ping"],
    ["a package that is no image", github("1", { package_type: "npm", ecosystem: "npm" }), "package"],
    [
      "names that no registry has",
      { events: [event("push", { repository: "../etc", tag: "x" }), event("push", { repository: "shop/web", tag: "a b" })] },
      undefined,
    ],
    [
      "things of other types",
      { events: [null, 7, "x", [], { action: "push", target: 1 }, { action: "push", target: { repository: {}, tag: [] } }] },
      undefined,
    ],
  ])("about %s wakes nobody", (_what, body, header) => {
    expect(readNotification(body, header)).toMatchObject({ pushed: [] });
  });

  it.each<[unknown, string | undefined, RegExp]>([
    [[], undefined, /no JSON object/],
    [7, undefined, /no JSON object/],
    [{ ref: "refs/heads/main", commits: [] }, undefined, /it has the keys ref, commits/],
    [{ commits: [] }, "push", /GitHub's event push tells of no package/],
    [{ type: "PUSH_ARTIFACT" }, undefined, /it has the keys type/],
  ])("of another form is not taken for one: %j", (body, header, reason) => {
    expect(readNotification(body, header)).toEqual({ format: undefined, reason: expect.stringMatching(reason) as string });
  });

  it("says each image once, and not without end", () => {
    const same = Array.from({ length: 10 }, () => event("push", { repository: "shop/web", tag: "v1" }));
    expect(readNotification({ events: same }, undefined)).toMatchObject({ pushed: [{ tag: "v1" }] });
    const many = Array.from({ length: 10_000 }, (_, n) => event("push", { repository: "shop/web", tag: `v${String(n)}` }));
    const found = readNotification({ events: many }, undefined);
    expect(found.format === undefined ? 0 : found.pushed.length).toBe(500);
  });
});
