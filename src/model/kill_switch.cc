// SPDX-License-Identifier: Apache-2.0
#include "sipheal/kill_switch.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <utility>

#include "absl/strings/str_format.h"

namespace sipheal::inline v0_1 {

KillSwitch::~KillSwitch() = default;

namespace {

constexpr std::size_t kLongestReason = 200;

class FileKillSwitch final : public KillSwitch {
 public:
  explicit FileKillSwitch(std::string path) : path_(std::move(path)) {}

  absl::Status Check(const CallContext&) override {
    struct stat found {};
    if (stat(path_.c_str(), &found) != 0) {
      // Without its folder it cannot have been thrown either.
      if (errno == ENOENT || errno == ENOTDIR) return absl::OkStatus();
      return Failed("looked at");
    }
    std::string reason;
    std::ifstream file(path_);
    std::getline(file, reason);
    reason.resize(std::min(reason.size(), kLongestReason));
    return absl::FailedPreconditionError(
        absl::StrFormat("the kill switch %s is thrown%s%s: remove the file to go on", path_,
                        reason.empty() ? "" : ": ", reason));
  }

  absl::Status Throw(const CallContext&, const std::string& reason) override {
    std::ofstream file(path_);
    file << reason << "\n";
    file.close();
    // One that lies there but could not be written stops everything, too.
    struct stat found {};
    return stat(path_.c_str(), &found) == 0 ? absl::OkStatus() : Failed("made");
  }

  absl::Status Clear(const CallContext&) override {
    if (std::remove(path_.c_str()) == 0 || errno == ENOENT) return absl::OkStatus();
    return Failed("removed");
  }

 private:
  absl::Status Failed(const char* what) const {
    return absl::UnavailableError(
        absl::StrFormat("the file of the kill switch, %s, cannot be %s: %s: see its rights", path_,
                        what, std::strerror(errno)));
  }

  const std::string path_;
};

}  // namespace

std::shared_ptr<KillSwitch> MakeFileKillSwitch(std::string path) {
  return std::make_shared<FileKillSwitch>(std::move(path));
}

}  // namespace sipheal::inline v0_1
