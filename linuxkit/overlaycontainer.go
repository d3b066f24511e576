package linuxkit

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// apply returns old with the change made; where is the change's place in the
// overlay called name.
func (c *ContainerChange) apply(old *Container, where, name string) (*Container, error) {
	changed := *old
	if err := changed.removeKeys(c.Remove, where); err != nil {
		return nil, err
	}
	if c.Image != "" {
		if err := checkReference(c.Image, c.Line, where+".image"); err != nil {
			return nil, err
		}
		changed.Image, changed.Line, changed.from = c.Image, c.Line, name
	}
	setKeys(&changed.ContainerConfig, c.ContainerConfig)
	if c.Runtime != nil {
		changed.Runtime = c.Runtime.apply(changed.Runtime)
	}
	if err := c.changeLists(&changed.ContainerConfig, where); err != nil {
		return nil, err
	}
	if reflect.DeepEqual(&changed, old) && c.Before.Text == "" && c.After.Text == "" {
		return nil, faultAt(c.Line, where, "nothing of %q is changed", c.Name)
	}
	return &changed, nil
}

// setKeys puts the keys that from has into to. What counts as one key is what
// the document has as one; maps are united.
func setKeys(to *ContainerConfig, from ContainerConfig) {
	runtime, binds, capabilities := to.Runtime, to.BindsAdd, to.CapabilitiesAdd
	if from.Binds != nil { // they take the place of what the document adds to the image's
		binds = nil
	}
	if from.Capabilities != nil {
		capabilities = nil
	}
	target, source := reflect.ValueOf(to).Elem(), reflect.ValueOf(from)
	for i := range source.NumField() {
		value, field := source.Field(i), target.Field(i)
		if value.IsZero() {
			continue
		}
		if united, ok := value.Interface().(map[string]string); ok && field.Len() > 0 {
			all := maps.Clone(field.Interface().(map[string]string))
			maps.Copy(all, united)
			value = reflect.ValueOf(all)
		}
		field.Set(value)
	}
	to.Runtime, to.BindsAdd, to.CapabilitiesAdd = runtime, binds, capabilities
}

// removeKeys takes keys out of a container.
func (c *Container) removeKeys(keys []Word, where string) error {
	fields := fieldsOf(reflect.ValueOf(&c.ContainerConfig).Elem())
	for i, key := range keys {
		f, ok := fields[strings.ToLower(key.Text)]
		if !ok || f.name != key.Text || f.value.IsZero() {
			var set []string
			for _, f := range fields {
				if !f.value.IsZero() {
					set = append(set, f.name)
				}
			}
			slices.Sort(set)
			return notFound(key.Line, fmt.Sprintf("%s.remove[%d]", where, i), "key of "+c.Name, key.Text, set)
		}
		f.value.SetZero()
	}
	return nil
}

func (r *RuntimeChange) apply(old *Runtime) *Runtime {
	changed := mergeRuntime(old, &r.Runtime)
	if changed == &r.Runtime || changed == old {
		copied := *changed
		changed = &copied
	}
	for _, dir := range r.MkdirAdd {
		if !slices.Contains(changed.Mkdir, dir) { // to make one twice is to make it once
			changed.Mkdir = append(slices.Clip(changed.Mkdir), dir)
		}
	}
	return changed
}

// changeLists adds to lists and removes from them.
func (c *ContainerChange) changeLists(to *ContainerConfig, where string) (err error) {
	l := listChange{where, c.Line}
	if to.BindsAdd, err = dropBoth(l, "binds", &to.Binds, to.BindsAdd, c.BindsRemove, bindDestination); err != nil {
		return err
	}
	if to.CapabilitiesAdd, err = dropBoth(l, "capabilities", &to.Capabilities, to.CapabilitiesAdd, c.CapabilitiesRemove, itself); err != nil {
		return err
	}
	if to.Devices, err = drop(l, "devices", to.Devices, c.DevicesRemove, devicePath); err != nil {
		return err
	}
	if to.Mounts, err = drop(l, "mounts", to.Mounts, c.MountsRemove, mountDestination); err != nil {
		return err
	}
	if to.Env, err = drop(l, "env", to.Env, c.EnvRemove, variableName); err != nil {
		return err
	}
	if err := extend(l, "binds.add", &to.Binds, &to.BindsAdd, c.BindsAdd, bindDestination); err != nil {
		return err
	}
	if err := extend(l, "capabilities.add", &to.Capabilities, &to.CapabilitiesAdd, c.CapabilitiesAdd, itself); err != nil {
		return err
	}
	if err := extend(l, "devices.add", &to.Devices, &to.DevicesAdd, c.DevicesAdd, deviceName); err != nil {
		return err
	}
	if err := extend(l, "mounts.add", &to.Mounts, &to.MountsAdd, c.MountsAdd, mountDestination); err != nil {
		return err
	}
	for _, v := range c.EnvAdd {
		if name, _, ok := strings.Cut(v, "="); !ok || name == "" {
			return faultAt(c.Line, where+".env.add", "%q is not NAME=VALUE", v)
		}
	}
	if to.Env != nil {
		to.Env = setVariables(to.Env, c.EnvAdd)
	} else if c.EnvAdd != nil {
		to.EnvAdd = setVariables(to.EnvAdd, c.EnvAdd)
	}
	return nil
}

type listChange struct {
	where string
	line  int
}

// drop removes the elements that words name.
func drop[T any](l listChange, key string, list []T, words []Word, nameOf func(T) string) ([]T, error) {
	if len(words) == 0 {
		return list, nil
	}
	return removeNamed(list, words, l.where+"."+key+".remove", "element of "+key, nameOf)
}

// dropBoth removes from a list and from what the document adds to the image's.
// Only one of them can be given by a document and have an effect.
func dropBoth(l listChange, key string, list *[]string, added []string, words []Word, nameOf func(string) string) ([]string, error) {
	if *list != nil {
		kept, err := drop(l, key, *list, words, nameOf)
		*list = kept
		return added, err
	}
	return drop(l, key, added, words, nameOf)
}

// extend adds to the document's list, or, when it has none, to what is added to
// the image's.
func extend[T any](l listChange, key string, list, added *[]T, more []T, nameOf func(T) string) error {
	if *list != nil {
		added = list
	}
	for i, e := range more {
		if at, _ := find(*added, nameOf(e), nameOf); at >= 0 {
			return faultAt(l.line, fmt.Sprintf("%s.%s[%d]", l.where, key, i), "the document has %q already; remove it in the same entry to replace it", nameOf(e))
		}
		*added = append(slices.Clip(*added), e)
	}
	return nil
}

// setVariables returns env with variables put in the place of those of the same
// name, or at the end.
func setVariables(env, variables []string) []string {
	env = slices.Clone(env)
	for _, v := range variables {
		if at, _ := find(env, variableName(v), variableName); at >= 0 {
			env[at] = v
		} else {
			env = append(env, v)
		}
	}
	return env
}

func itself(s string) string                { return s }
func devicePath(d Device) string            { return d.Path }
func deviceName(d Device) string            { return strings.TrimSpace(d.Path + " " + d.Type) }
func mountDestination(m specs.Mount) string { return m.Destination }

// bindDestination returns the path in the container of SOURCE:DESTINATION[:OPTIONS].
func bindDestination(bind string) string {
	if parts := strings.Split(bind, ":"); len(parts) > 1 {
		return parts[1]
	}
	return bind
}

func variableName(v string) string {
	name, _, _ := strings.Cut(v, "=")
	return name
}
