import type { Store } from '../ipam/store.ts';
import { listLeases } from '../ipam/transition.ts';
import type { Kernel } from '../linux/apply.ts';
import type { HostMesh } from '../mesh/host-mesh.ts';
import { diff } from '../plan/diff.ts';
import { planText } from '../plan/text.ts';
import { inBrief, type NewEvent } from '../sandbox/event.ts';
import type { Gate } from '../sandbox/gate.ts';
import { holdingOf, isBuilt, isOwned, passOf } from '../sandbox/holding.ts';
import type { RootNamespace } from '../sandbox/host/root.ts';
import type { Manager } from '../sandbox/manager.ts';
import type { Survey } from '../sandbox/survey.ts';
import type { Verification } from '../sandbox/verification.ts';

type ReconcileParts = {
  readonly store: Store;
  readonly kernel: Kernel;
  readonly survey: Survey;
  readonly manager: Manager;
  readonly verification: Verification;
  readonly root: RootNamespace;
  readonly gate: Gate;
  readonly mesh: HostMesh | undefined;
  readonly emit: (event: NewEvent) => void;
};

/** The difference between what should be and what is, a line per operation, of all of the host; applied unless `dryRun`. */
export function reconcile(
  { store, kernel, survey, manager, verification, root, gate, mesh, emit }: ReconcileParts,
  { dryRun }: { readonly dryRun: boolean },
): { plan: string[]; applied: boolean } {
  const leases = listLeases(store).map(holdingOf);
  // what is under way is a part of a step, and as that step leaves it
  const holdings = leases.filter(
    (holding) => isBuilt(holding) && holding.state !== 'creating' && !manager.hasGivenUp(holding.key.slot),
  );
  const standing = leases.filter(({ state }) => state !== 'quarantined');
  const outside = survey.outside();
  const plans = [
    survey.hostPlan(),
    [...survey.strayPlan(standing), ...diff(outside.orphans(standing), [])],
    ...holdings.map((holding) => survey.sandboxPlan(holding, outside.of(holding))),
  ].filter((plan) => plan.length > 0);
  if (!dryRun) {
    for (const plan of plans) kernel.apply(plan);
    verification.forgetFailures();
  }
  const passes = holdings.filter(isOwned).map(passOf);
  const rules: string[] = mesh?.reconcile({ dryRun }) ?? [];
  if (dryRun) rules.push(...root.missingRules(), ...gate.compare(passes));
  else {
    root.watch((repairs) => rules.push(...repairs));
    rules.push(...gate.restore(passes));
  }
  const lines = [...plans.flatMap((plan) => planText(plan).split('\n')), ...rules];
  if (!dryRun && lines.length > 0) {
    emit({ type: 'host.repaired', message: `Put right when it was asked for: ${inBrief(lines)}` });
  }
  return { plan: lines, applied: !dryRun };
}
