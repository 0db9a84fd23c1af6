// SPDX-License-Identifier: Apache-2.0
#include "cli/notify.h"

#include <cstddef>
#include <cstdlib>

#include "cli/unix_socket.h"

namespace sipheal::inline v0_1::cli {

bool NotifyServiceManager(const std::string& state) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || (path[0] != '/' && path[0] != '@')) return false;
  sockaddr_un address = UnixAddress(path);
  const std::size_t length = std::strlen(address.sun_path);
  // '@' stands for the NUL byte of an abstract socket.
  if (address.sun_path[0] == '@') address.sun_path[0] = '\0';
  const FileDescriptor fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
  return fd && sendto(fd.get(), state.data(), state.size(), MSG_NOSIGNAL,
                      reinterpret_cast<const sockaddr*>(&address),
                      size) == static_cast<ssize_t>(state.size());
}

}  // namespace sipheal::inline v0_1::cli
