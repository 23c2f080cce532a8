// Every command there is, in the order in which help lists nouns and verbs.
import { command as auditList } from "./commands/audit/list.ts";
import { command as buildsCancel } from "./commands/builds/cancel.ts";
import { command as buildsList } from "./commands/builds/list.ts";
import { command as buildsLogs } from "./commands/builds/logs.ts";
import { command as buildsProvenance } from "./commands/builds/provenance.ts";
import { command as buildsRetry } from "./commands/builds/retry.ts";
import { command as buildsSbom } from "./commands/builds/sbom.ts";
import { command as buildsShow } from "./commands/builds/show.ts";
import { command as certificatesDelete } from "./commands/certificates/delete.ts";
import { command as certificatesHosts } from "./commands/certificates/hosts.ts";
import { command as certificatesList } from "./commands/certificates/list.ts";
import { command as certificatesRenew } from "./commands/certificates/renew.ts";
import { command as certificatesSet } from "./commands/certificates/set.ts";
import { command as certificatesShow } from "./commands/certificates/show.ts";
import { command as clustersAdd } from "./commands/clusters/add.ts";
import { command as clustersDrain } from "./commands/clusters/drain.ts";
import { command as clustersList } from "./commands/clusters/list.ts";
import { command as clustersRbac } from "./commands/clusters/rbac.ts";
import { command as clustersRemove } from "./commands/clusters/remove.ts";
import { command as clustersRename } from "./commands/clusters/rename.ts";
import { command as clustersSet } from "./commands/clusters/set.ts";
import { command as clustersShow } from "./commands/clusters/show.ts";
import { command as clustersUndrain } from "./commands/clusters/undrain.ts";
import { command as componentsAutoscale } from "./commands/components/autoscale.ts";
import { command as componentsDelete } from "./commands/components/delete.ts";
import { command as componentsList } from "./commands/components/list.ts";
import { command as componentsPlace } from "./commands/components/place.ts";
import { command as componentsRestart } from "./commands/components/restart.ts";
import { command as componentsRollback } from "./commands/components/rollback.ts";
import { command as componentsScale } from "./commands/components/scale.ts";
import { command as componentsSet } from "./commands/components/set.ts";
import { command as componentsShow } from "./commands/components/show.ts";
import { command as componentsStart } from "./commands/components/start.ts";
import { command as componentsStop } from "./commands/components/stop.ts";
import { command as componentsUsage } from "./commands/components/usage.ts";
import { command as configSet } from "./commands/config/set.ts";
import { command as configShow } from "./commands/config/show.ts";
import { command as configUnset } from "./commands/config/unset.ts";
import { command as credentialsDelete } from "./commands/credentials/delete.ts";
import { command as credentialsList } from "./commands/credentials/list.ts";
import { command as credentialsSet } from "./commands/credentials/set.ts";
import { command as dailyImport } from "./commands/daily/import.ts";
import { command as dailyAdopt } from "./commands/daily/adopt.ts";
import { command as dailyBackup } from "./commands/daily/backup.ts";
import { command as dailyCompletion } from "./commands/daily/completion.ts";
import { command as componentsDeploy } from "./commands/components/deploy.ts";
import { command as dailyDoctor } from "./commands/daily/doctor.ts";
import { command as dailyDrift } from "./commands/daily/drift.ts";
import { command as dailyEdge } from "./commands/daily/edge.ts";
import { command as dailyEvents } from "./commands/daily/events.ts";
import { command as imagesBuild } from "./commands/images/build.ts";
import { command as imagesList } from "./commands/images/list.ts";
import { command as instancesExec } from "./commands/instances/exec.ts";
import { command as instancesForward } from "./commands/instances/forward.ts";
import { command as dailyInit } from "./commands/daily/init.ts";
import { command as dailyLogin } from "./commands/daily/login.ts";
import { command as dailyLogout } from "./commands/daily/logout.ts";
import { command as componentsLogs } from "./commands/components/logs.ts";
import { command as dailyManifests } from "./commands/daily/manifests.ts";
import { command as dailyOpen } from "./commands/daily/open.ts";
import { command as dailyPlan } from "./commands/daily/plan.ts";
import { command as tasksCreate } from "./commands/tasks/create.ts";
import { command as dailyRestore } from "./commands/daily/restore.ts";
import { command as dailyServer } from "./commands/daily/server.ts";
import { command as dailyStatus } from "./commands/daily/status.ts";
import { command as dailyUp } from "./commands/daily/up.ts";
import { command as dailyVersion } from "./commands/daily/version.ts";
import { command as dailyWhoami } from "./commands/daily/whoami.ts";
import { command as eventsList } from "./commands/events/list.ts";
import { command as eventsWatch } from "./commands/events/watch.ts";
import { command as instancesList } from "./commands/instances/list.ts";
import { command as knownHostsAdd } from "./commands/known-hosts/add.ts";
import { command as knownHostsList } from "./commands/known-hosts/list.ts";
import { command as registriesAdd } from "./commands/registries/add.ts";
import { command as registriesList } from "./commands/registries/list.ts";
import { command as registriesRemove } from "./commands/registries/remove.ts";
import { command as releasesDiff } from "./commands/releases/diff.ts";
import { command as releasesList } from "./commands/releases/list.ts";
import { command as releasesShow } from "./commands/releases/show.ts";
import { command as rolesList } from "./commands/roles/list.ts";
import { command as rolloutsAbort } from "./commands/rollouts/abort.ts";
import { command as rolloutsList } from "./commands/rollouts/list.ts";
import { command as rolloutsRetry } from "./commands/rollouts/retry.ts";
import { command as rolloutsShow } from "./commands/rollouts/show.ts";
import { command as rolloutsWatch } from "./commands/rollouts/watch.ts";
import { command as secretsDelete } from "./commands/secrets/delete.ts";
import { command as secretsList } from "./commands/secrets/list.ts";
import { command as secretsSet } from "./commands/secrets/set.ts";
import { command as sourcesFetch } from "./commands/sources/fetch.ts";
import { command as sourcesList } from "./commands/sources/list.ts";
import { command as sourcesUpload } from "./commands/sources/upload.ts";
import { command as stacksCreate } from "./commands/stacks/create.ts";
import { command as stacksDelete } from "./commands/stacks/delete.ts";
import { command as stacksExport } from "./commands/stacks/export.ts";
import { command as stacksList } from "./commands/stacks/list.ts";
import { command as stacksQuota } from "./commands/stacks/quota.ts";
import { command as stacksSet } from "./commands/stacks/set.ts";
import { command as stacksShow } from "./commands/stacks/show.ts";
import { command as stacksVersions } from "./commands/stacks/versions.ts";
import { command as tasksCancel } from "./commands/tasks/cancel.ts";
import { command as tasksList } from "./commands/tasks/list.ts";
import { command as tasksLogs } from "./commands/tasks/logs.ts";
import { command as tasksShow } from "./commands/tasks/show.ts";
import { command as teamsList } from "./commands/teams/list.ts";
import { command as tokensCreate } from "./commands/tokens/create.ts";
import { command as tokensDelete } from "./commands/tokens/delete.ts";
import { command as tokensList } from "./commands/tokens/list.ts";
import { command as usersList } from "./commands/users/list.ts";
import { command as volumesDelete } from "./commands/volumes/delete.ts";
import { command as volumesCopy } from "./commands/volumes/copy.ts";
import { command as volumesList } from "./commands/volumes/list.ts";
import { command as volumesRestore } from "./commands/volumes/restore.ts";
import { command as volumesSnapshot } from "./commands/volumes/snapshot.ts";
import { command as webhooksAdd } from "./commands/webhooks/add.ts";
import { command as webhooksList } from "./commands/webhooks/list.ts";
import { command as webhooksRemove } from "./commands/webhooks/remove.ts";
import { registryOf } from "./tree.ts";

/** In the order in which help lists them; what is not named comes behind. */
const dailyOrder = [
  "up",
  "plan",
  "init",
  "deploy",
  "status",
  "logs",
  "exec",
  "forward",
  "run",
  "open",
  "scale",
  "autoscale",
  "place",
  "restart",
  "stop",
  "start",
  "rollback",
  "events",
  "manifests",
  "drift",
  "server",
  "backup",
  "restore",
  "adopt",
  "import",
  "login",
  "logout",
  "whoami",
  "doctor",
  "completion",
  "version",
];

export const registry = registryOf(
  [
    stacksList,
    stacksShow,
    stacksCreate,
    stacksSet,
    stacksQuota,
    stacksDelete,
    stacksExport,
    stacksVersions,
    componentsList,
    componentsShow,
    componentsSet,
    componentsDelete,
    componentsPlace,
    componentsRestart,
    componentsRollback,
    componentsScale,
    componentsAutoscale,
    componentsStart,
    componentsStop,
    componentsUsage,
    componentsDeploy,
    componentsLogs,
    imagesList,
    imagesBuild,
    instancesList,
    instancesExec,
    instancesForward,
    releasesList,
    releasesShow,
    releasesDiff,
    rolloutsList,
    rolloutsShow,
    rolloutsAbort,
    rolloutsRetry,
    rolloutsWatch,
    buildsList,
    buildsShow,
    buildsCancel,
    buildsLogs,
    buildsSbom,
    buildsProvenance,
    buildsRetry,
    sourcesList,
    sourcesFetch,
    sourcesUpload,
    credentialsList,
    credentialsSet,
    credentialsDelete,
    knownHostsList,
    knownHostsAdd,
    configShow,
    configSet,
    configUnset,
    secretsList,
    secretsSet,
    secretsDelete,
    tasksList,
    tasksShow,
    tasksCancel,
    tasksLogs,
    tasksCreate,
    volumesList,
    volumesSnapshot,
    volumesRestore,
    volumesCopy,
    volumesDelete,
    eventsList,
    eventsWatch,
    auditList,
    certificatesList,
    certificatesShow,
    certificatesHosts,
    certificatesRenew,
    certificatesSet,
    certificatesDelete,
    registriesList,
    registriesAdd,
    registriesRemove,
    webhooksList,
    webhooksAdd,
    webhooksRemove,
    clustersAdd,
    clustersDrain,
    clustersList,
    clustersRbac,
    clustersRemove,
    clustersRename,
    clustersSet,
    clustersShow,
    clustersUndrain,
    tokensList,
    tokensCreate,
    tokensDelete,
    usersList,
    teamsList,
    rolesList,
    dailyUp,
    dailyPlan,
    dailyInit,
    dailyStatus,
    dailyManifests,
    dailyDrift,
    dailyOpen,
    dailyEvents,
    dailyServer,
    dailyBackup,
    dailyRestore,
    dailyAdopt,
    dailyImport,
    dailyLogin,
    dailyLogout,
    dailyWhoami,
    dailyDoctor,
    dailyCompletion,
    dailyVersion,
    dailyEdge,
  ],
  dailyOrder,
);
