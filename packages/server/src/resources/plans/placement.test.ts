// Where a build context lies in what is sent: paths are the caller's, from the project's folder.
import type { PlanRequest } from "@berth/contract/resources/plans.ts";
import { describe, expect, test } from "vitest";
import { placeContexts, type Placement } from "./placement.ts";

const digest = `sha256:${"a".repeat(64)}`;

/** Answers what is asked for, from files named from the project's folder. */
function placed(
  files: Readonly<Record<string, string>>,
  contexts: readonly string[],
  more: Partial<Pick<PlanRequest, "within" | "sources">> = {},
): { placements: Record<string, Placement>; asked: string[] } {
  const sent: Record<string, string> = {};
  const absent: string[] = [];
  for (let round = 0; round < 3; round += 1) {
    const answer = placeContexts({ files: sent, absent, sources: {}, ...more }, contexts);
    if (answer.status === "placed") return { placements: Object.fromEntries(answer.placements), asked: [...Object.keys(sent), ...absent] };
    for (const path of answer.files)
      if (files[path] === undefined) absent.push(path);
      else sent[path] = files[path];
  }
  throw new Error("asked three times");
}
const web = JSON.stringify({ name: "web" });
const workspace = JSON.stringify({ workspaces: ["apps/*"] });

describe("a build context", () => {
  test("that is the project's folder, with nothing above it, needs no question", () => {
    expect(placed({}, ["."])).toEqual({ placements: { ".": { from: ".", root: "." } }, asked: [] });
  });
  test("that belongs to a workspace of the project is sent with it, and all its members as one source", () => {
    const { placements } = placed(
      { "package.json": workspace, "apps/web/package.json": web, "apps/api/package.json": web, "other/package.json": web },
      ["apps/web", "apps/api", "other"],
    );
    expect(placements).toEqual({
      "apps/web": { from: ".", root: "apps/web" },
      "apps/api": { from: ".", root: "apps/api" },
      other: { from: "other", root: "." },
    });
  });
  test("of a project inside a repository is sent with the workspace above it", () => {
    const files = { "../../package.json": workspace, "package.json": web };
    const { placements, asked } = placed(files, ["."], { within: "apps/web" });
    expect(placements).toEqual({ ".": { from: "../..", root: "apps/web" } });
    expect(asked.filter((path) => !path.includes("/")).length).toBeGreaterThan(5);
    expect(asked.every((path) => !path.startsWith("../../.."))).toBe(true);
    expect(
      placed({ "../package.json": JSON.stringify({ workspaces: ["site/*"] }), "web/package.json": web }, ["web"], { within: "site" })
        .placements,
    ).toEqual({ web: { from: "..", root: "site/web" } });
  });
  test("that was sent by itself is taken as it is", () => {
    expect(placed({ "package.json": workspace, "apps/web/package.json": web }, ["apps/web"], { sources: { "apps/web": digest } })).toEqual({
      placements: { "apps/web": { from: "apps/web", root: "." } },
      asked: [],
    });
  });
  test.each(["../x", "/x"])("in a repository cannot lie outside of it: %s", (within) => {
    expect(() => placeContexts({ files: {}, absent: [], sources: {}, within }, ["."])).toThrow("invalid_request");
  });
});
