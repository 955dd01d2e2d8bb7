# Lets a library load where glibc and libstdc++ are older than on the machine that builds
# it. `auditwheel` says which versions it needs.
#
# Of a function that has several versions, the linker takes the newest. The stand-in for
# glibc has each with the newest version that `oldest_glibc` knows, too, and no others:
# the linker takes it for libc itself, whose name it has. In 2.34, many functions got a new
# version for their move from libpthread, libdl and librt alone.

set(oldest_glibc 27)  # 2.27

if(NOT CMAKE_OBJDUMP)
  message(FATAL_ERROR "tf_approxgrad: objdump was not found; it comes with binutils")
endif()
execute_process(COMMAND ${CMAKE_CXX_COMPILER} -print-file-name=libc.so.6
                OUTPUT_VARIABLE libc OUTPUT_STRIP_TRAILING_WHITESPACE
                COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CMAKE_OBJDUMP} -T ${libc} OUTPUT_VARIABLE table
                COMMAND_ERROR_IS_FATAL ANY)
# Lines such as "... g    DF .text  ...  GLIBC_2.34  dlsym"; earlier versions are in
# brackets. Functions are DF or, chosen by processor, iD; variables DO.
string(REGEX MATCHALL "[^\n]+ GLIBC_2[^\n]+|[^\n]+[(]GLIBC_2[^\n]+" lines "${table}")
set(names)
foreach(line IN LISTS lines)
  string(REGEX MATCH " [gw] +(D[FO]|iD).*GLIBC_2[.]([0-9]+)([.]([0-9]+))?[)]? +([A-Za-z0-9_]+)$"
         all "${line}")
  if(NOT all OR CMAKE_MATCH_2 GREATER oldest_glibc)
    continue()
  endif()
  set(name ${CMAKE_MATCH_5})
  set(version 2.${CMAKE_MATCH_2}${CMAKE_MATCH_3})
  if(NOT DEFINED version_of_${name})
    list(APPEND names ${name})
    set(kind_of_${name} ${CMAKE_MATCH_1})
    set(version_of_${name} ${version})
  elseif(version VERSION_GREATER version_of_${name})
    set(version_of_${name} ${version})
  endif()
endforeach()

set(code "")
set(versions)
foreach(name IN LISTS names)
  if(kind_of_${name} STREQUAL DO)
    string(APPEND code "char ${name}[8];\n")
  else()
    string(APPEND code "void ${name}() {}\n")
  endif()
  list(APPEND versions ${version_of_${name}})
  string(APPEND names_of_${version_of_${name}} " ${name};")
endforeach()
list(REMOVE_DUPLICATES versions)
set(script "")
foreach(version IN LISTS versions)
  string(APPEND script "GLIBC_${version} {${names_of_${version}} };\n")
endforeach()

enable_language(C)
set(source ${CMAKE_BINARY_DIR}/older_glibc.c)
set(version_script ${CMAKE_BINARY_DIR}/older_glibc.map)
file(CONFIGURE OUTPUT ${source} CONTENT "${code}")
file(CONFIGURE OUTPUT ${version_script} CONTENT "${script}")
add_library(older_glibc SHARED EXCLUDE_FROM_ALL ${source})
set_target_properties(older_glibc PROPERTIES NO_SONAME ON)
target_compile_options(older_glibc PRIVATE -fno-builtin -w)
target_link_options(older_glibc PRIVATE -nostdlib -Wl,-soname,libc.so.6
                                        -Wl,--version-script,${version_script})

# What the stand-in lacks is an error, not a name without a version.
set(source ${CMAKE_SOURCE_DIR}/cmake/older_runtimes.cc)
# Their declarations forbid to hide what it defines.
set_source_files_properties(${source} PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
add_library(older_runtimes INTERFACE)
target_sources(older_runtimes INTERFACE ${source})
target_link_libraries(older_runtimes INTERFACE older_glibc)
target_link_options(older_runtimes INTERFACE -Wl,-z,defs)
