// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "cli/command_line.h"
#include "cli/exit_code.h"

namespace {

// A standard stream that the caller closed would be given to the first file or socket that is
// opened, and what is printed would go there. Opened the wrong way round, it fails as it should.
void KeepStandardStreams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(stream, F_GETFD) != -1) continue;
    if (open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY) == -1) std::_Exit(1);
  }
}

// What was printed but could not be written is no success.
int Finish(int status) {
  std::cout.flush();
  if (std::cout.good()) return status;
  std::cerr << "sipheal: standard output could not be written to its end: is it closed, or its "
               "disk full?\n";
  return status == sipheal::cli::kExitOk ? sipheal::cli::kExitFailed : status;
}

}  // namespace

int main(int argc, char** argv) {
  namespace cli = sipheal::cli;
  KeepStandardStreams();
  const bool plain = std::getenv("NO_COLOR") != nullptr;
  const cli::Console console{.out = std::cout,
                             .err = std::cerr,
                             .colour = isatty(STDOUT_FILENO) == 1 && !plain,
                             .progress = isatty(STDERR_FILENO) == 1};
  try {
    return Finish(cli::RunCommandLine(std::vector<std::string>(argv + 1, argv + argc), console));
  } catch (const std::exception& error) {
    std::cerr << "sipheal: " << error.what() << "\n";
    return 1;
  }
}
