// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "cli/command_line.h"

int main(int argc, char** argv) {
  namespace cli = sipheal::cli;
  const bool plain = std::getenv("NO_COLOR") != nullptr;
  const cli::Console console{.out = std::cout,
                             .err = std::cerr,
                             .colour = isatty(STDOUT_FILENO) == 1 && !plain,
                             .progress = isatty(STDERR_FILENO) == 1};
  try {
    return cli::RunCommandLine(std::vector<std::string>(argv + 1, argv + argc), console);
  } catch (const std::exception& error) {
    std::cerr << "sipheal: " << error.what() << "\n";
    return 1;
  }
}
