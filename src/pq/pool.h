// SPDX-License-Identifier: Apache-2.0
// Connections that are opened when they are needed and used again.
#pragma once

#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "model/turnstile.h"
#include "pq/connection.h"
#include "sipheal/export.h"

namespace sipheal::inline v0_1::internal::pq {

// Thread-safe.
class SIPHEAL_EXPORT ConnectionPool {
 public:
  // `places`: connections at a time, at least 1.
  ConnectionPool(Connection::Options options, int places)
      : options_(std::move(options)), places_(places) {}

  // A connection for one user at a time; it goes back to the pool, unless it broke, when this goes
  // out of scope.
  class SIPHEAL_EXPORT Use {
   public:
    Use(ConnectionPool& pool, Turnstile::Pass pass, std::unique_ptr<Connection> connection,
        bool fresh)
        : pool_(&pool), pass_(std::move(pass)), connection_(std::move(connection)), fresh_(fresh) {}
    Use(Use&&) = default;
    Use& operator=(Use&&) = delete;
    ~Use() {
      if (connection_ != nullptr) pool_->GiveBack(std::move(connection_));
    }

    Connection& operator*() const { return *connection_; }
    Connection* operator->() const { return connection_.get(); }
    // It was opened for this use: that it broke says something about the server.
    bool fresh() const { return fresh_; }

   private:
    ConnectionPool* pool_;
    Turnstile::Pass pass_;
    std::unique_ptr<Connection> connection_;
    bool fresh_;
  };

  // Waits for a place, the urgent before the others, and opens a connection if none is idle.
  // `what` names the caller's work in an error.
  absl::StatusOr<Use> Take(const CallContext& ctx, Turnstile::Urgency urgency,
                           std::string_view what);

 private:
  void GiveBack(std::unique_ptr<Connection> connection);

  const Connection::Options options_;
  Turnstile places_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Connection>> idle_;  // guarded by mutex_
};

}  // namespace sipheal::inline v0_1::internal::pq
