// `berth place`
import { Name } from "@berth/contract/names.ts";
import type { Placement } from "@berth/contract/spec.ts";
import { Value } from "typebox/value";
import { defineCommand, flag, optional, text, time } from "../../command.ts";
import { UsageError } from "../../failure.ts";

export const command = defineCommand({
  path: ["components", "place"],
  daily: "place",
  scope: "component",
  waits: true,
  summary: "Run a component in several clusters",
  description:
    "A release goes through the clusters in the order in which they are named, the stack's own first, and stops where it fails. A Compose file that says `placement` under `x-berth` has the last word with the next `berth up`, and so has one that leaves it out.",
  arguments: { component: optional("the component, instead of -c", "component") },
  options: {
    on: text("--on <clusters>", "the clusters, and how many instances in each: `east=3,west=2`"),
    share: text(
      "--share <clusters>",
      "the clusters, and the share of all instances in each: `east=2,west=1`, or `east,west` for equal ones",
    ),
    pause: time("--pause <time>", "how long a release waits before it goes on to the next cluster"),
    off: flag("--off", "in its stack's own cluster alone"),
  },
  examples: [
    ["berth place web --on east=3,west=2 --pause 30s", "three in east; two in west, half a minute after east has a release"],
    ["berth place web --share east,west", "half of them in each"],
    ["berth place web --off", "all of them in the stack's own cluster"],
  ],
  async run(ctx, { arguments: { component }, options: { on, share, pause, off } }) {
    if ([on, share, off ? "off" : undefined].filter((one) => one !== undefined).length !== 1)
      throw new UsageError("Where should it run?", "For example `berth place web --on east=3,west=2`, or `berth place web --off`.");
    const placement: Placement | undefined = off
      ? undefined
      : {
          clusters: on === undefined ? readClusters(share ?? "", "share", false) : readClusters(on, "replicas", true),
          ...(pause === undefined ? {} : { pause }),
        };
    const api = await ctx.api();
    const params = await ctx.inComponent(component);
    const deployment = await api.placeComponent({ params, body: placement === undefined ? {} : { placement } }, { signal: ctx.signal });
    const { follow } = await import("../../follow/follow.ts");
    if (ctx.out.json) ctx.out.object(deployment);
    return follow(ctx, deployment, "released");
  },
});

function readClusters(given: string, what: "replicas" | "share", isNeeded: boolean): Placement["clusters"] {
  return given.split(",").map((one) => {
    const [name = "", number, ...more] = one.trim().split("=");
    const isWhole = number === undefined ? !isNeeded : /^[0-9]{1,4}$/.test(number);
    if (!Value.Check(Name, name) || !isWhole || more.length > 0)
      throw new UsageError(`\`${one.trim()}\` is no cluster with a number.`, "Write it as `east=3`, and several as `east=3,west=2`.");
    return { name, ...(number === undefined ? {} : { [what]: Number(number) }) };
  });
}
