// The embedded database's settings: small, quick to start, and never at the price of a committed row (promise 2).

/** postgresql.conf; `extra.conf` beside it is the operator's and wins. */
export function confText(socketDir: string): string {
  const settings: Record<string, string | number> = {
    // Reachable through a socket in a private folder only.
    listen_addresses: "",
    unix_socket_directories: socketDir,
    unix_socket_permissions: "0600",
    password_encryption: "scram-sha-256",
    max_connections: 60,
    // Memory: a laptop or a small server runs this beside its applications.
    shared_buffers: "64MB",
    work_mem: "4MB",
    maintenance_work_mem: "32MB",
    min_dynamic_shared_memory: "2MB",
    io_method: "sync",
    max_worker_processes: 2,
    max_parallel_workers: 0,
    max_parallel_workers_per_gather: 0,
    max_logical_replication_workers: 0,
    max_wal_senders: 2,
    jit: "off",
    // Log of changes: durable always, and short to replay after a crash.
    fsync: "on",
    synchronous_commit: "on",
    full_page_writes: "on",
    min_wal_size: "32MB",
    max_wal_size: "192MB",
    checkpoint_timeout: "10min",
    autovacuum_naptime: "30s",
    timezone: "UTC",
    log_timezone: "UTC",
    lc_messages: "C",
    log_min_messages: "warning",
    log_min_error_statement: "panic",
    log_checkpoints: "off",
    log_line_prefix: "%m [%p] ",
    cluster_name: "berth",
  };
  const lines = Object.entries(settings).map(
    ([name, value]) => `${name} = ${typeof value === "number" ? value : `'${value.replaceAll("'", "''")}'`}`,
  );
  return `# Written by Berth at each start. Put your own settings into extra.conf in this folder.\n${lines.join("\n")}\ninclude_if_exists = 'extra.conf'\n`;
}

/** pg_hba.conf: the application's role with its password, and nobody else; `open` lets the superuser in, who has no password. */
export function hbaText(role: string, access: "closed" | "open"): string {
  return `# Written by Berth at each start.\n${access === "open" ? "local template1 postgres trust\n" : ""}local all ${role} scram-sha-256\n`;
}
