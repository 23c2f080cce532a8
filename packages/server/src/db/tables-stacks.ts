// Row types of migration 0002: stacks, what they are made of, and the steps that bring them live.
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import type { Cause } from "@berth/contract/causes.ts";
import type { Build } from "@berth/contract/resources/builds.ts";
import type { SeenInstance } from "@berth/contract/resources/components.ts";
import type { Quota } from "@berth/contract/resources/stacks.ts";
import type { Drift, StackDrift } from "@berth/contract/resources/drift.ts";
import type { Rollout } from "@berth/contract/resources/rollouts.ts";
import type { Command, ComponentKind, ComponentSpec } from "@berth/contract/spec.ts";
import type { ColumnType, Generated } from "kysely";
import type { ReleaseRuntime, SecretRef } from "../core/release/release.ts";
import type { BuiltFacts } from "../core/attest/built.ts";
import type { PlaceFacts } from "../core/kube-clusters.ts";
import type { Memory } from "../core/rollout/plan.ts";

/** Of one component. */
export type SeenDifference = Omit<Drift["differences"][number], "component">;

/** jsonb: read as the value, written as JSON text. */
type Json<T> = ColumnType<T, string, string>;
type JsonOrNull<T> = ColumnType<T | null, string | null | undefined, string | null>;
type JsonDefault<T> = ColumnType<T, string | undefined, string>;
type Time = ColumnType<Date, Date | string | undefined, Date | string>;
type TimeOrNull = ColumnType<Date | null, Date | string | null | undefined, Date | string | null>;
/** bigint, read as a number: an error beyond 53 bits. */
type Big = ColumnType<number, number | undefined, number>;

export interface StackTables {
  clusters: {
    id: Generated<string>;
    name: string;
    engine: "local" | "docker" | "kubernetes";
    config: JsonDefault<Record<string, unknown>>;
    node_id: string | null;
    node_host: string | null;
    seen_at: TimeOrNull;
    unadopted: Generated<boolean>;
    host: JsonOrNull<PlaceFacts>;
    host_ciphertext: string | null;
    domain: Generated<string>;
    draining_since: TimeOrNull;
    removed_at: TimeOrNull;
    created_at: Time;
    /** 0020; null: as `name`, which never changes. */ called: ColumnType<string | null, string | null | undefined, string | null>;
  };
  /** 0020 */ cluster_names: { name: string; cluster_id: string; created_at: Time };
  stacks: {
    id: Generated<string>;
    team_id: string;
    cluster_id: string;
    name: string;
    run_env: Generated<string>;
    quota: JsonOrNull<Quota>;
    /** 0015 */ drift: Generated<StackDrift>;
    /** 0017 */ namespace: string | null;
    revision: Big;
    last_version: Generated<number>;
    last_build: Generated<number>;
    last_task: Generated<number>;
    delete_requested_at: TimeOrNull;
    delete_volumes: Generated<boolean>;
    deleted_at: TimeOrNull;
    created_at: Time;
    updated_at: Time;
  };
  components: {
    id: Generated<string>;
    stack_id: string;
    /** 0018 */ part_of: string | null;
    /** 0018 */ cluster_id: string | null;
    name: string;
    kind: ComponentKind;
    spec: Json<ComponentSpec>;
    replicas: number;
    stopped: Generated<boolean>;
    restart: Generated<number>;
    revision: Big;
    last_release: Generated<number>;
    last_rollout: Generated<number>;
    stable_release_id: string | null;
    delete_requested_at: TimeOrNull;
    state: Generated<string>;
    ready: Generated<number>;
    cause: JsonOrNull<Cause>;
    observed: JsonDefault<{ instances: SeenInstance[] }>;
    observed_at: TimeOrNull;
    memory: JsonDefault<Partial<Memory>>;
    next_run_at: TimeOrNull;
    held: Generated<boolean>;
    /** 0015 */ drift: JsonDefault<SeenDifference[]>;
    created_at: Time;
    updated_at: Time;
  };
  internal_ports: { component_id: string; cluster_id: string; name: string; port: number };
  routes: { component_id: string; cluster_id: string; port_name: string; host: string; path: Generated<string>; is_default: boolean };
  published_ports: { component_id: string; cluster_id: string; port_name: string; port: number };
  volumes: { id: Generated<string>; stack_id: string; cluster_id: string; name: string; created_at: Time; delete_requested_at: TimeOrNull };
  credentials: { stack_id: string; name: string; kind: string; ciphertext: string; updated_at: Time };
  known_hosts: { line: string; created_at: Time };
  sources: {
    id: Generated<string>;
    stack_id: string | null;
    principal: string;
    kind: "upload" | "git";
    digest: string;
    size: Big;
    files: number;
    url: string | null;
    ref: string | null;
    revision: string | null;
    author: string | null;
    message: string | null;
    dirty: boolean | null;
    created_by: string;
    created_at: Time;
  };
  artifacts: { digest: string; kind: "bundle" | "image"; size: Big; created_at: Time };
  builds: {
    id: Generated<string>;
    stack_id: string;
    cluster_id: string;
    number: number;
    source_id: string | null;
    source_digest: string;
    context: string;
    build_key: string;
    options: JsonDefault<BuildOptions>;
    phase: Generated<Build["phase"]>;
    plan: JsonOrNull<BuildPlan>;
    steps: JsonDefault<Build["steps"]>;
    artifact_digest: string | null;
    /** 0010: what is fetched; null: it is where it was built. */ artifact_reference: ColumnType<
      string | null,
      string | null | undefined,
      string | null
    >;
    log_digest: string | null;
    /** 0013: in the blob store; null: nobody attested it. */ sbom_digest: ColumnType<
      string | null,
      string | null | undefined,
      string | null
    >;
    provenance_digest: ColumnType<string | null, string | null | undefined, string | null>;
    /** What is still to be attested. */ attesting: JsonOrNull<BuiltFacts>;
    cause: JsonOrNull<Cause>;
    cancel_requested_by: string | null;
    attempts: Generated<number>;
    created_by: string;
    queued_at: Time;
    started_at: TimeOrNull;
    ended_at: TimeOrNull;
  };
  config_versions: {
    id: Generated<string>;
    stack_id: string;
    component_id: string | null;
    number: number;
    values: Json<Record<string, string>>;
    created_by: string;
    created_at: Time;
  };
  secrets: { stack_id: string; name: string; version: number; ciphertext: string; created_by: string; created_at: Time };
  releases: {
    id: Generated<string>;
    component_id: string;
    number: number;
    hash: string;
    artifact_digest: string;
    build_id: string | null;
    config: Json<Record<string, string>>;
    secret_refs: Json<Record<string, SecretRef>>;
    spec: Json<ComponentSpec>;
    runtime: Json<ReleaseRuntime>;
    reason: string;
    created_by: string;
    created_at: Time;
  };
  stack_versions: { id: Generated<string>; stack_id: string; number: number; reason: string; created_by: string; created_at: Time };
  rollouts: {
    id: Generated<string>;
    component_id: string;
    cluster_id: string;
    number: number;
    version_id: string | null;
    phase: Rollout["phase"];
    reason: string;
    build_id: string | null;
    release_id: string | null;
    from_release_id: string | null;
    spec: Json<ComponentSpec>;
    config: Json<Record<string, string>>;
    secret_refs: Json<Record<string, SecretRef>>;
    waits_for: Generated<string[]>;
    step: JsonOrNull<NonNullable<Rollout["step"]>>;
    verified: JsonOrNull<NonNullable<Rollout["verified"]>>;
    cause: JsonOrNull<Cause>;
    abort_requested_by: string | null;
    ends_as: "failed" | "aborted" | null;
    progress: JsonDefault<RolloutProgress>;
    created_by: string;
    /** 0011: where its image is, when that was found before it was accepted. */ image_reference: string | null;
    /** 0018 */ follows: string | null;
    /** 0018, ms */ pause: Big;
    created_at: Time;
    started_at: TimeOrNull;
    ended_at: TimeOrNull;
  };
  stack_version_members: { version_id: string; component_id: string; rollout_id: string | null; release_id: string | null };
  plans: {
    id: Generated<string>;
    stack_name: string;
    principal: string;
    body: Json<unknown>;
    stack_revision: Big;
    created_at: Time;
    expires_at: Time;
  };
  tasks: {
    id: Generated<string>;
    stack_id: string;
    component_id: string;
    cluster_id: string;
    number: number;
    release_id: string | null;
    phase: Generated<"queued" | "running" | "succeeded" | "failed" | "cancelled" | "missed">;
    command: Json<Command>;
    trigger: "user" | "schedule" | "release" | "postdeploy";
    scheduled_for: TimeOrNull;
    deadline: number;
    exit_code: number | null;
    signal: string | null;
    cause: JsonOrNull<Cause>;
    cancel_requested_by: string | null;
    created_by: string;
    created_at: Time;
    started_at: TimeOrNull;
    ended_at: TimeOrNull;
  };
}

/** 0005_hooks.sql */
export interface HookTables {
  hooks: { stack_id: string; key: string; version_id: string | null; task_id: string | null; created_at: Time };
}

/** 0008_certificates.sql */
export interface CertificateTables {
  certificates: {
    name: string;
    chain: string;
    ciphertext: string;
    subject: string;
    issuer: string;
    hosts: string[];
    not_before: Time;
    not_after: Time;
    fingerprint: string;
    chain_length: number;
    self_signed: boolean;
    is_default: Generated<boolean>;
    /** 0009: the cluster whose server got it by itself. */ kept_by: string | null;
    created_at: Time;
    updated_at: Time;
    updated_by: string;
  };
}

/** 0010_registries.sql */
export interface RegistryTables {
  registries: {
    host: string;
    username: string;
    ciphertext: string;
    plain_http: boolean;
    created_at: Time;
    updated_at: Time;
    updated_by: string;
  };
  pushed_images: {
    repository: string;
    digest: string;
    pushed_at: Time;
    refused_at: TimeOrNull;
    /** 0013: the digest of the image that it refers to; null: it is an image itself. */ subject: string | null;
  };
}

/** 0011_webhooks.sql */
export interface WebhookTables {
  webhooks: { name: string; registry: string; ciphertext: string; created_at: Time; created_by: string; notified_at: TimeOrNull };
  image_looks: {
    component_id: string;
    asked_by: string;
    asked: Big;
    looked: Big;
    asked_at: Time;
    looked_at: TimeOrNull;
    failures: Generated<number>;
    cause: JsonOrNull<Cause>;
  };
}

/** `root`: the folder inside the source that is built; all of it when absent. */
export interface BuildOptions {
  readonly prefer: "process" | "image";
  readonly root?: string;
  readonly dockerfile?: string;
  readonly target?: string;
  readonly args?: Record<string, string>;
  /** By the id that a step asks for: the secret of the stack. */
  readonly secrets?: Record<string, string>;
  readonly deadline?: number;
  /** Where volumes are mounted: folders of the image that its program may write to. */
  readonly writable?: string[];
}

/** What a rollout showed so far: its deadline counts from the last time that one of these numbers moved. */
export interface RolloutProgress {
  readonly updated?: number;
  readonly available?: number;
  readonly old?: number;
  readonly movedAt?: number;
  /** Unix ms since when something that might mend itself keeps it from beginning. */
  readonly troubledAt?: number;
  readonly verifyFailures?: number;
  /** Restarts of each instance of this very revision that ran already when the rollout began. */ readonly restartsBefore?: Readonly<
    Record<string, number>
  >;
  readonly best?: { readonly updated: number; readonly available: number; readonly old: number };
}
