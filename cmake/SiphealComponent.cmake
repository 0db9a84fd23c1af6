# sipheal_component(NAME [OPTIONAL] [FIND pkg...] SOURCES ... [HEADERS ...] [PUBLIC targets] [PRIVATE targets]
#                   [NEEDS components])
#
# Declares one component of sipheal: the target sipheal_<NAME> with the alias sipheal::<NAME>, its public headers
# as a file set (so that each is compiled alone by the target all_verify_interface_header_sets), and its export.
#
# An OPTIONAL component has the cache option SIPHEAL_WITH_<NAME> = AUTO | ON | OFF. AUTO builds it when every FIND
# package is there and says so when one is not; ON fails instead; OFF leaves it out. A FIND entry is `Name` for
# find_package or `pkg:module` for pkg-config, which gives the target PkgConfig::<module>.
include_guard(GLOBAL)
find_package(absl REQUIRED)
find_package(Threads REQUIRED)

define_property(GLOBAL PROPERTY SIPHEAL_COMPONENTS BRIEF_DOCS "components of this build, in order")

macro(_sipheal_find entry)
  if("${entry}" MATCHES "^pkg:(.+)$")
    find_package(PkgConfig QUIET)
    string(MAKE_C_IDENTIFIER "${CMAKE_MATCH_1}" _sipheal_module)
    if(PKG_CONFIG_FOUND)
      pkg_check_modules(${_sipheal_module} QUIET IMPORTED_TARGET GLOBAL ${CMAKE_MATCH_1})
    endif()
    set(_sipheal_found ${${_sipheal_module}_FOUND})
  else()
    # Some packages (gRPC 1.51 of Debian 12) cannot be found twice.
    if(NOT ${entry}_FOUND)
      find_package(${entry} QUIET)
    endif()
    set(_sipheal_found ${${entry}_FOUND})
  endif()
endmacro()

# Whether the optional component NAME is to be built; sets OUT to TRUE or FALSE.
macro(_sipheal_wanted name out)
  string(TOUPPER "${name}" _sipheal_upper)
  set(SIPHEAL_WITH_${_sipheal_upper} AUTO CACHE STRING "Build the component ${name}: AUTO, ON or OFF")
  set_property(CACHE SIPHEAL_WITH_${_sipheal_upper} PROPERTY STRINGS AUTO ON OFF)
  set(${out} TRUE)
  if("${SIPHEAL_WITH_${_sipheal_upper}}" STREQUAL "OFF")
    set(${out} FALSE)
  else()
    foreach(_sipheal_entry IN LISTS ARG_FIND)
      _sipheal_find(${_sipheal_entry})
      if(NOT _sipheal_found)
        if("${SIPHEAL_WITH_${_sipheal_upper}}" STREQUAL "AUTO")
          message(STATUS "sipheal: component ${name} is left out: ${_sipheal_entry} was not found")
          set(${out} FALSE)
        else()
          message(FATAL_ERROR "sipheal: component ${name} needs ${_sipheal_entry}, which was not found; "
                              "install it or set SIPHEAL_WITH_${_sipheal_upper}=OFF")
        endif()
      endif()
    endforeach()
    foreach(_sipheal_entry IN LISTS ARG_NEEDS)
      if(NOT TARGET sipheal_${_sipheal_entry})
        message(STATUS "sipheal: component ${name} is left out: it needs ${_sipheal_entry}")
        set(${out} FALSE)
      endif()
    endforeach()
  endif()
endmacro()

function(sipheal_warnings target)
  # Parameter structs are written with designated initialisers that name only what differs: that is no slip.
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wno-missing-field-initializers)
  if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    target_compile_options(${target} PRIVATE -Wthread-safety)
  endif()
  if(SIPHEAL_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
endfunction()

function(sipheal_component name)
  cmake_parse_arguments(ARG "OPTIONAL" "" "FIND;SOURCES;HEADERS;PUBLIC;PRIVATE;NEEDS" ${ARGN})
  if(ARG_OPTIONAL)
    _sipheal_wanted(${name} _wanted)
    if(NOT _wanted)
      return()
    endif()
  endif()
  set(target sipheal_${name})
  add_library(${target} ${ARG_SOURCES})
  add_library(sipheal::${name} ALIAS ${target})
  target_compile_features(${target} PUBLIC cxx_std_20)
  sipheal_warnings(${target})
  set_target_properties(${target} PROPERTIES
    EXPORT_NAME ${name}
    POSITION_INDEPENDENT_CODE ON
    CXX_VISIBILITY_PRESET hidden
    VISIBILITY_INLINES_HIDDEN ON
    VERSION ${PROJECT_VERSION}
    SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
  list(TRANSFORM ARG_HEADERS PREPEND ${PROJECT_SOURCE_DIR}/include/)
  target_sources(${target} PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}/include
                                  FILES ${ARG_HEADERS})
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(${target} PUBLIC ${ARG_PUBLIC} PRIVATE ${ARG_PRIVATE})
  foreach(need IN LISTS ARG_NEEDS)
    target_link_libraries(${target} PUBLIC sipheal_${need})
  endforeach()
  set_property(TARGET ${target} PROPERTY SIPHEAL_NEEDS "${ARG_NEEDS}")
  set_property(TARGET ${target} PROPERTY SIPHEAL_FIND "${ARG_FIND}")
  set_property(GLOBAL APPEND PROPERTY SIPHEAL_COMPONENTS ${name})
  install(TARGETS ${target} EXPORT sipheal-${name}
          ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT sipheal-${name}
          LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT sipheal-${name}
          FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT sipheal-${name})
  install(EXPORT sipheal-${name} NAMESPACE sipheal:: FILE sipheal-${name}-targets.cmake
          DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/sipheal COMPONENT sipheal-${name})
endfunction()

# Writes the package files that let `find_package(sipheal COMPONENTS ...)` find what was built.
function(sipheal_install_package)
  include(CMakePackageConfigHelpers)
  get_property(components GLOBAL PROPERTY SIPHEAL_COMPONENTS)
  list(JOIN components ", " SIPHEAL_COMPONENT_LIST)
  set(SIPHEAL_COMPONENT_TABLE "")
  foreach(name IN LISTS components)
    get_target_property(needs sipheal_${name} SIPHEAL_NEEDS)
    get_target_property(find sipheal_${name} SIPHEAL_FIND)
    string(APPEND SIPHEAL_COMPONENT_TABLE
           "set(_sipheal_${name}_needs ${needs})\nset(_sipheal_${name}_find ${find})\n")
  endforeach()
  string(REPLACE "set(_sipheal_core_find )" "set(_sipheal_core_find absl Threads)"
                 SIPHEAL_COMPONENT_TABLE "${SIPHEAL_COMPONENT_TABLE}")
  configure_package_config_file(
    ${PROJECT_SOURCE_DIR}/cmake/sipheal-config.cmake.in ${PROJECT_BINARY_DIR}/sipheal-config.cmake
    INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/sipheal)
  write_basic_package_version_file(${PROJECT_BINARY_DIR}/sipheal-config-version.cmake
                                   COMPATIBILITY SameMinorVersion)
  install(FILES ${PROJECT_BINARY_DIR}/sipheal-config.cmake
                ${PROJECT_BINARY_DIR}/sipheal-config-version.cmake
          DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/sipheal COMPONENT sipheal-core)
endfunction()
