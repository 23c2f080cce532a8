// What help says about nouns, and pages that belong to no single command.
export const nounSummaries: Readonly<Record<string, string>> = {
  stacks: "complete environments",
  components: "the services of a stack",
  instances: "running copies of a component",
  releases: "immutable, numbered snapshots of a component",
  rollouts: "releases going live, step by step",
  builds: "source code becoming something that runs",
  sources: "where code came from",
  credentials: "keys and tokens for private git repositories",
  "known-hosts": "ssh host keys that git may trust",
  config: "environment variables of a stack or component",
  secrets: "values that nobody can read back",
  tasks: "one-off and scheduled runs",
  volumes: "data that outlives releases",
  events: "what happened",
  audit: "who did what",
  clusters: "places that run instances",
  tokens: "your API tokens",
  users: "who may sign in",
  teams: "who owns stacks",
  roles: "sets of permissions",
};

export const topics: Readonly<Record<string, { readonly title: string; readonly text: readonly string[] }>> = {
  "exit-codes": {
    title: "What the exit codes mean",
    text: [
      "    0  done",
      "    1  failed",
      "    2  wrong usage: nothing was asked of the server",
      "    3  not found, not signed in or not allowed",
      "    4  the build or rollout failed; the release that served before keeps serving",
      "    5  gave up waiting after --timeout; the work goes on in the server",
      "  130  interrupted; the work goes on in the server, and the last line says how to watch it",
      "", "`berth exec` and `berth run` end with the exit code of the command that they ran (128 + the number of the signal that ended it).",
    ],
  },
  environment: {
    title: "Environment variables and files",
    text: [
      "  BERTH_SERVER     the server's URL; default: where you signed in last, else http://127.0.0.1:7420",
      "  BERTH_TOKEN      a token, instead of `berth login`",
      "  BERTH_STACK      the stack, instead of -s",
      "  BERTH_COMPONENT  the component, instead of -c",
      "  BERTH_LANG       the language of messages",
      "  BERTH_DEBUG      1 shows every request and, when the command line itself fails, where",
      "  NO_COLOR         no colours; FORCE_COLOR=1 colours in a pipe too",
      "", "`.berth.json` beside the code chooses for everyone who works in that folder: {\"stack\": \"shop\", \"component\": \"web\", \"server\": \"https://berth.example.com\"}.",
      "", "Tokens are kept in $XDG_CONFIG_HOME/berth/credentials.json (~/.config/berth), readable by you alone.",
    ],
  },
  output: {
    title: "Results, progress and --json",
    text: [
      "Results go to stdout, progress and notes to stderr. Tables are cut to fit a terminal and never cut in a pipe.",
      "", "--json prints exactly the API's objects, as /api/v1/openapi.json describes them: one object, a list as its page ({\"items\": [...], \"cursor\": \"...\"}), and what is followed (logs, events) as one object a line.",
    ],
  },
};
