"""A rollout's injected episodes as a term of its update, or as an update of their own."""

from __future__ import annotations

import torch as th

from nlf_sb3.algorithms.injection import InjectionTerm, build_injected_rows
from nlf_sb3.algorithms.rows import InjectedRows
from nlf_sb3.algorithms.takeover import SettlesTakeovers
from nlf_sb3.losses import policy_gradient_loss


class TrainsOnInjected(SettlesTakeovers):
    """Builds the rows and the term of a rollout's injected episodes from the algorithm's arguments."""

    def _injected_rows(self) -> InjectedRows | None:
        if self.injection.segments == "imitate":
            return None
        with_prefix = self.injection.count_prefix
        segments = [kept for kept in self.rollout_buffer.segments if with_prefix or kept[0].fork_step < len(kept[0])]
        if not segments:
            return None
        assert self.env is not None
        rows = build_injected_rows(
            self.policy,
            self.env,
            segments,
            make_rows=self._policy_rows,
            gamma=self.gamma,
            agents_advantages=self._advantage_scale(),
            use_critic=self._uses_critic(),
            bootstrap_at_time_limit=self._bootstraps_at_time_limit(),
            bounded=self.injection.weighting == "bounded",
            weigh=self._expert_weights(),
            with_prefix=with_prefix,
        )
        self.logger.record("injection/advantage_mean", rows.advantages.mean().item())
        self._record_weights(rows.weights)
        return rows

    def _injection_term(self, rows: InjectedRows, n_rows: int) -> InjectionTerm:
        return InjectionTerm(
            rows,
            self._policy_losses,
            n_rows=n_rows,
            coef=self.injection.coef if self.injection.weighting == "bounded" else None,
            # What the term gives is scaled by N where losses are sums; this one is a sum over its own K rows.
            vf_coef=self.injection.vf_coef * self._loss_scale(len(rows)) / self._loss_scale(n_rows),
            rng=self._feedback_rng,
        )

    def _separate_update(self, injection: InjectionTerm, scale: float, n_rows: int) -> None:
        """The paper's order: the injected episodes' own optimiser step, on the policy that the agent's has left."""
        self.policy.set_training_mode(True)
        policy_loss, value_loss = injection.loss_of_all()
        loss = self._loss_scale(n_rows) * (scale * policy_loss + value_loss)
        self.policy.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if self.max_grad_norm is not None:
            th.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
        self.policy.optimizer.step()

    # What an algorithm says of its own policy loss:

    def _policy_losses(self, log_prob: th.Tensor, old_log_prob: th.Tensor, advantages: th.Tensor) -> th.Tensor:
        """The algorithm's policy loss, row by row, for injected rows: ``[k]`` each."""
        return policy_gradient_loss(log_prob, advantages)

    def _bootstraps_at_time_limit(self) -> bool:
        return True
