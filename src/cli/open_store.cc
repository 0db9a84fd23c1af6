// SPDX-License-Identifier: Apache-2.0
#include "cli/open_store.h"

#include <string>
#include <utility>

#include "absl/strings/str_format.h"

#if SIPHEAL_CLI_HAS_SQLITE
#include "sipheal/adapters/sqlite.h"
#endif

namespace sipheal::inline v0_1::cli {

absl::StatusOr<std::shared_ptr<SessionStore>> OpenStore(
    [[maybe_unused]] const LoadedConfig& loaded, [[maybe_unused]] std::shared_ptr<LogSink> log) {
#if SIPHEAL_CLI_HAS_SQLITE
  SqliteOptions options;
  options.path = loaded.config.store.sqlite;
  options.log = std::move(log);
  absl::StatusOr<std::shared_ptr<SessionStore>> store = MakeSqliteSessionStore(std::move(options));
  if (store.ok()) return store;
  return absl::Status(store.status().code(),
                      absl::StrFormat("%s: %s", loaded.Where("store.sqlite"),
                                      std::string(store.status().message())));
#else
  return absl::UnimplementedError(
      "this build of sipheal has no component 'sqlite', which the session store needs: build it "
      "with SIPHEAL_WITH_SQLITE=ON");
#endif
}

}  // namespace sipheal::inline v0_1::cli
