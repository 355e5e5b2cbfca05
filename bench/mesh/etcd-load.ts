/** What an etcd has done since it began, as its own metrics tell. */
export type EtcdLoad = {
  readonly cpu_s: number;
  readonly rss: number;
  /** bytes */
  readonly database: number;
  readonly sent: number;
  /** to watchers, one by one */
  readonly events: number;
  /** messages, answers and what watchers are told */
  readonly messages: number;
  /** questions answered, keeping leases alive not among them */
  readonly requests: number;
};

/** @param address of its clients, host and port */
export async function readEtcdLoad(address: string): Promise<EtcdLoad> {
  const answer = await fetch(`http://${address}/metrics`);
  const text = await answer.text();
  const sum = (name: string): number =>
    [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (.*)$`, 'gm'))].reduce(
      (all, [, one]) => all + Number(one),
      0,
    );
  return {
    cpu_s: sum('process_cpu_seconds_total'),
    rss: sum('process_resident_memory_bytes'),
    database: sum('etcd_mvcc_db_total_size_in_bytes'),
    sent: sum('etcd_network_client_grpc_sent_bytes_total'),
    events: sum('etcd_debugging_mvcc_events_total'),
    messages: sum('grpc_server_msg_sent_total'),
    requests: sum('grpc_server_handled_total'),
  };
}
