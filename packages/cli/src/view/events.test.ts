// Events as people read them.
import type { Event } from "@berth/contract/resources/events.ts";
import { expect, it } from "vitest";
import { eventText } from "./events.ts";

const event = (code: string, params: Event["params"]): Event => ({ id: "1", at: "2026-05-01T00:00:00.000Z", code, params, topics: [] });

it("a build of the source itself is not said to be of a full stop", () => {
  expect(eventText(event("build_queued", { build: 1, context: "." }))).toBe("Build 1 was queued.");
  expect(eventText(event("build_started", { build: 1, context: ".", attempt: 1 }))).toBe("Build 1 started.");
  expect(eventText(event("build_succeeded", { build: 1, context: ".", took: 1500 }))).toBe("Build 1 succeeded in 1.5s.");
  expect(eventText(event("build_failed", { build: 1, context: "apps/web" }))).toBe("Build 1 of apps/web failed.");
});

it("an event of a newer server is shown by its code", () => {
  expect(eventText(event("something_new", { context: "." }))).toBe("something_new");
});
