// SPDX-License-Identifier: Apache-2.0
#include "pq/pool.h"

#include <utility>

#include "base/status_macros.h"

namespace sipheal::inline v0_1::internal::pq {

absl::StatusOr<ConnectionPool::Use> ConnectionPool::Take(const CallContext& ctx,
                                                         Turnstile::Urgency urgency,
                                                         std::string_view what) {
  ABSL_ASSIGN_OR_RETURN(Turnstile::Pass pass, places_.Enter(ctx, *options_.clock, urgency, what));
  for (;;) {
    std::unique_ptr<Connection> connection;
    {
      const std::lock_guard lock(mutex_);
      if (idle_.empty()) break;
      connection = std::move(idle_.back());
      idle_.pop_back();
    }
    if (connection->LooksAlive()) {
      return Use(*this, std::move(pass), std::move(connection), /*fresh=*/false);
    }
  }
  ABSL_ASSIGN_OR_RETURN(std::unique_ptr<Connection> connection, Connection::Open(options_, ctx));
  return Use(*this, std::move(pass), std::move(connection), /*fresh=*/true);
}

void ConnectionPool::GiveBack(std::unique_ptr<Connection> connection) {
  if (connection->broken()) return;
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(connection));
}

}  // namespace sipheal::inline v0_1::internal::pq
