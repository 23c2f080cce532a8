// Where one resource uses the store of another, and why (docs/decisions/0003). The list may shrink; the check says when an entry is not needed any more.

/** `from -> to` and the reason. */
export const sharedStores: ReadonlyMap<string, string> = new Map([
  ["adoption -> secrets", "values that run are sealed again under the name that their rows had"],
  ["adoption -> volumes", "volumes of what runs get their rows back"],
  ["builds -> stacks", "a build's number comes from its stack's row, under its lock"],
  ["builds -> rollouts", "the rollouts that wait for a cancelled build are woken with it"],
  ["components -> volumes", "a definition makes its missing volumes"],
  ["components -> releases", "restart and rollback read the release under the component's lock"],
  ["components -> rollouts", "a restart is refused while a rollout is open, under the same lock"],
  ["config -> secrets", "a release's secret references are resolved where its config is"],
  ["config -> components", "a change of config may release every component of the stack"],
  ["imports -> secrets", "what runs is compared with what the stack has under the name that it would get"],
  ["plans -> builds", "applying a plan reuses or queues builds"],
  ["plans -> components", "applying a plan writes its components"],
  ["plans -> releases", "a plan says whether the release that serves would change"],
  ["plans -> rollouts", "a component with an open rollout is never unchanged"],
  ["plans -> secrets", "a Compose file may give values to secrets"],
  ["plans -> sources", "a plan's sources become the stack's when it is applied"],
  ["plans -> stacks", "applying a plan raises the stack's revision"],
  ["plans -> volumes", "a plan shows which volumes it would make"],
  ["rollouts -> components", "a rollout's number comes from its component's row, under its lock"],
  ["rollouts -> stacks", "a stack version's number comes from the stack's row, under its lock"],
  ["tasks -> releases", "a task runs in the release that serves"],
  ["tasks -> stacks", "a task's number comes from its stack's row, under its lock"],
]);
