import type { GateObserver } from "../core/ports.ts";

/** One observer that tells several, in their order; each hears what it has a method for. */
export function combineObservers(...observers: readonly Partial<GateObserver>[]): GateObserver {
  return {
    decided: (event) => {
      for (const observer of observers) observer.decided?.(event);
    },
    permitChecked: (event) => {
      for (const observer of observers) observer.permitChecked?.(event);
    },
    approvalChanged: (event) => {
      for (const observer of observers) observer.approvalChanged?.(event);
    },
    executionReported: (event) => {
      for (const observer of observers) observer.executionReported?.(event);
    },
    eventIngested: (event) => {
      for (const observer of observers) observer.eventIngested?.(event);
    },
    actionExecuted: (event) => {
      for (const observer of observers) observer.actionExecuted?.(event);
    },
    failed: (event) => {
      for (const observer of observers) observer.failed?.(event);
    },
  };
}
