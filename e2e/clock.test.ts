// A wall clock that is set, on the local engine: server, edge, agent, database and instances see it at once.
import { describe } from "vitest";
import { clockMissing } from "./clock.ts";
import { clockScenes } from "./clock-scenes.ts";
import { TestBerth } from "./harness.ts";

const missing = clockMissing();

describe.skipIf(missing !== undefined)(`a wall clock that is set${missing === undefined ? "" : ` (${missing})`}`, () => {
  clockScenes(async (prefix) => {
    const berth = await TestBerth.start({}, undefined, prefix);
    return { berth, [Symbol.asyncDispose]: () => berth.stop() };
  });
});
