import { runProgram } from '../program.ts';
import { reconcile } from './rows/reconcile.ts';
import { syncconf } from './rows/syncconf.ts';

await runProgram({
  name: 'bench:mesh',
  summary: 'Measures the mesh of many hosts and the registry that they agree in, in namespaces of its own.',
  rows: [syncconf, reconcile],
  touchesMemory: false,
});
