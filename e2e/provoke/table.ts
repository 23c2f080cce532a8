// Which test provokes each cause for real. A cause that no test provokes stands here with the reason why none can.
import type { CauseCode } from "@berth/contract/causes.ts";
import { builds, keptBuilds } from "./builds.ts";
import { kept, programs } from "./programs.ts";

export type Where = { readonly test: string } | { readonly cannot: string };

/** Through the command line, with everything that `provoke` holds against each other. */
const throughTheCommandLine: ReadonlySet<string> = new Set([...programs, ...kept, ...builds("", ""), ...keptBuilds].map((one) => one.code));

const agent = "packages/server/src/edge/agent";
const containers = "packages/server/src/edge/containers";
const detect = "packages/server/src/core/buildplan/detect.test.ts";
const gitTest = "packages/server/src/builders/source/git.test.ts";
const host = "packages/server/src/builders/host";
const kubernetes = "packages/server/src/engines/kubernetes/causes.cluster.test.ts";
const failures = "e2e/failures.test.ts";
const automatic = "e2e/automatic-failures.test.ts";

/** The others: a file that provokes it and names its code, or what it tells. */
const elsewhere: Partial<Record<CauseCode, Where>> = {
  machine_out_of_memory: {
    cannot: "to provoke it, all of this machine's memory would have to be used up; how it is told is tested beside the code",
  },
  command_not_found: { test: failures },
  start_command_missing: { test: "packages/server/src/core/release/release.test.ts" },
  wrong_port: { test: failures },
  port_taken: { test: failures },
  port_unavailable: { cannot: "as root every port can be opened or is taken; an ordinary user meets it at ports below 1024" },
  inner_address_unavailable: { test: "e2e/docker/engine-tests.ts" },
  liveness_failed: { test: `${agent}/causes.test.ts` },
  crash_loop: { test: `${agent}/causes.test.ts` },
  volume_missing: { test: "e2e/provoke.test.ts" },
  start_failed: { test: `${agent}/causes.test.ts` },
  task_deadline: { test: "e2e/runtime.test.ts" },
  run_lost: { test: `${agent}/tasks.test.ts` },
  overlay_refused: { test: "packages/server/src/engines/kubernetes/overlays.cluster.test.ts" },
  verify_failed: { test: failures },
  verify_wrong_release: {
    cannot: "a host has one owner and a route one release at a time; it guards against a router that sends a pinned request elsewhere",
  },
  dependency_failed: { test: failures },
  cluster_before_failed: { test: "packages/server/test/placement.test.ts" },
  cluster_before_unhealthy: { test: "packages/server/test/placement.test.ts" },
  superseded: { test: "e2e/runtime.test.ts" },
  aborted: { test: failures },
  env_missing: {
    cannot: "a plan that needs it is refused before (`env_required`); it guards against an app.json that changes between plan and build",
  },
  release_command_failed: { test: "e2e/hooks.test.ts" },
  restored: { test: "e2e/backup.test.ts" },
  unknown_release: { test: "e2e/backup.test.ts" },
  secret_missing: { cannot: "a secret that a release needs cannot be deleted; it guards a task against a restored database" },
  secret_unreadable: { test: "packages/server/test/secret-values.test.ts" },
  artifact_missing: { test: `${agent}/causes.test.ts` },
  swarm_not_manager: { test: `${containers}/swarm/swarm.docker.test.ts` },
  cluster_unreachable: { test: `${agent}/agent.test.ts` },
  build_process_limit: { test: `${host}/hostile.test.ts` },
  build_deadline: { test: `${host}/endings.test.ts` },
  bundle_too_large: { test: `${host}/build.test.ts` },
  certificate_dates: { test: "packages/server/src/core/builderrors.test.ts" },
  registry_unanswered: { test: "e2e/docker/webhooks.test.ts" },
  authority_unreachable: { test: automatic },
  authority_refused: { test: automatic },
  authority_rate_limited: { test: automatic },
  proof_unreachable: { test: automatic },
  proof_wrong: { test: automatic },
  proof_name_unknown: { test: automatic },
  proof_not_offered: { test: automatic },
  proof_hook_failed: { test: "e2e/automatic-dns.test.ts" },
  certificate_unusable: { test: automatic },
  build_cancelled: { test: failures },
  base_image_missing: { test: "packages/server/src/builders/testing/builder-tests.ts" },
  image_step_failed: { test: "packages/server/src/builders/testing/builder-tests.ts" },
  dockerfile_step_failed: { test: "packages/server/src/builders/image/ownfile.docker.test.ts" },
  dockerfile_unusable: { test: "packages/server/src/builders/image/ownfile.test.ts" },
  dockerfile_needs_buildkit: { test: "packages/server/src/builders/image/ownfile.test.ts" },
  image_builder_missing: { test: "packages/server/src/builders/image/ownfile.docker.test.ts" },
  cluster_builder_missing: { test: "packages/server/src/server/kube/place.test.ts" },
  cluster_builder_unready: { test: "packages/server/src/server/kube/builder.cluster.long.test.ts" },
  cluster_builder_lost: { test: "packages/server/src/server/kube/builder.cluster.long.test.ts" },
  build_secrets_need_buildkit: { test: "packages/server/src/builders/image/ownfile.test.ts" },
  build_secret_missing: { test: "packages/server/src/builders/image/ownfile.test.ts" },
  base_missing: { test: "packages/server/src/core/image/dockerfile.test.ts" },
  tool_not_in_images: { test: "packages/server/src/core/image/dockerfile.test.ts" },
  tool_missing: { test: `${agent}/causes.test.ts` },
  tool_version: { test: `${agent}/causes.test.ts` },
  plan_not_detected: { test: detect },
  plan_in_subfolder: { test: detect },
  outside_source: { test: "packages/server/src/core/buildplan/sourceroot.test.ts" },
  manifest_invalid: { test: detect },
  dockerfile_needs_container_engine: { test: `${host}/build.test.ts` },
  dockerfile_missing: { test: detect },
  image_not_found: { test: `${containers}/images.docker.test.ts` },
  image_denied: { test: `${containers}/images.docker.test.ts` },
  image_other_platform: { test: `${containers}/images.docker.test.ts` },
  image_lost: { test: "e2e/docker/registry.test.ts" },
  image_of_others: { test: "e2e/docker/registry.test.ts" },
  image_push_denied: { test: `${containers}/images.docker.test.ts` },
  image_push_failed: { test: `${containers}/images.docker.test.ts` },
  registry_unreadable: { test: `${containers}/images.docker.test.ts` },
  image_gone: { test: `${containers}/containers.docker.test.ts` },
  host_disk_full: { test: "e2e/docker/diskfull.test.ts" },
  image_pull_failed: { test: `${containers}/containers.docker.test.ts` },
  stack_network_failed: { test: `${containers}/doors.test.ts` },
  image_needs_container_engine: { test: `${agent}/causes.test.ts` },
  unschedulable: { test: kubernetes },
  cluster_quota_exceeded: { test: kubernetes },
  admission_denied: { test: kubernetes },
  webhook_down: { test: kubernetes },
  cluster_rights_missing: { test: kubernetes },
  field_conflict: { test: kubernetes },
  service_leads_elsewhere: { test: "packages/server/src/engines/kubernetes/imports.cluster.test.ts" },
  object_refused: { test: kubernetes },
  namespace_of_others: { test: kubernetes },
  namespace_terminating: { test: kubernetes },
  route_refused: { test: "packages/server/src/engines/kubernetes/testing/gateway.ts" },
  git_auth_failed: { test: gitTest },
  git_not_found: { test: gitTest },
  git_host_unknown: { test: "packages/server/src/builders/source/gitssh.test.ts" },
  git_failed: { test: gitTest },
  internal: { cannot: "it stands for a mistake of Berth's own that nobody knows yet" },
};

/** undefined: nobody provokes it, which fails the test of this table. */
export function provokedBy(code: CauseCode): Where | undefined {
  return throughTheCommandLine.has(code) ? { test: "e2e/provoke.test.ts" } : elsewhere[code];
}
/** Codes that stand in the table of the others. */
export const listedElsewhere: readonly string[] = Object.keys(elsewhere);
