import { runProgram } from '../program.ts';
import { churn } from './rows/churn.ts';
import { hosts, manyHosts } from './rows/hosts.ts';
import { join } from './rows/join.ts';
import { peers } from './rows/peers.ts';
import { reconcile } from './rows/reconcile.ts';
import { switching } from './rows/switch.ts';
import { syncconf } from './rows/syncconf.ts';
import { throughput } from './rows/throughput.ts';

await runProgram({
  name: 'bench:mesh',
  summary: 'Measures the mesh of many hosts and the registry that they agree in, in namespaces of its own.',
  rows: [syncconf, reconcile, peers, throughput, join, switching, churn, hosts, manyHosts],
  touchesMemory: false,
});
