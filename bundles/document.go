package bundles

// The types below are the part of a Bundles object (aws/eks-anywhere,
// release/api/v1alpha1) that is used here. The json tags are those of the canonical
// form that is signed, so fields without omitempty there have none here.

type document struct {
	APIVersion string   `yaml:"apiVersion" json:"apiVersion,omitempty"`
	Kind       string   `yaml:"kind" json:"kind,omitempty"`
	Metadata   metadata `yaml:"metadata" json:"metadata"`
	Spec       spec     `yaml:"spec" json:"spec"`
}

// metadata lacks fields that are never signed, except the annotations, which have
// the signature.
type metadata struct {
	Name            string            `yaml:"name" json:"name,omitempty"`
	GenerateName    string            `yaml:"generateName" json:"generateName,omitempty"`
	SelfLink        string            `yaml:"selfLink" json:"selfLink,omitempty"`
	Labels          map[string]string `yaml:"labels" json:"labels,omitempty"`
	Finalizers      []string          `yaml:"finalizers" json:"finalizers,omitempty"`
	OwnerReferences []ownerReference  `yaml:"ownerReferences" json:"ownerReferences,omitempty"`
	Annotations     map[string]string `yaml:"annotations" json:"-"`
}

type ownerReference struct {
	APIVersion         string `yaml:"apiVersion" json:"apiVersion"`
	Kind               string `yaml:"kind" json:"kind"`
	Name               string `yaml:"name" json:"name"`
	UID                string `yaml:"uid" json:"uid"`
	Controller         *bool  `yaml:"controller" json:"controller,omitempty"`
	BlockOwnerDeletion *bool  `yaml:"blockOwnerDeletion" json:"blockOwnerDeletion,omitempty"`
}

type spec struct {
	Number          int              `yaml:"number" json:"number"`
	CLIMinVersion   string           `yaml:"cliMinVersion" json:"cliMinVersion"`
	CLIMaxVersion   string           `yaml:"cliMaxVersion" json:"cliMaxVersion"`
	VersionsBundles []versionsBundle `yaml:"versionsBundles" json:"versionsBundles"`
}

type versionsBundle struct {
	KubeVersion          string      `yaml:"kubeVersion" json:"kubeVersion"`
	EndOfStandardSupport string      `yaml:"endOfStandardSupport" json:"endOfStandardSupport,omitempty"`
	EKSD                 eksD        `yaml:"eksD" json:"eksD"`
	Tinkerbell           *tinkerbell `yaml:"tinkerbell" json:"-"`
}

// eksD lacks components and manifestUrl, which are not signed.
type eksD struct {
	Name         string   `yaml:"name" json:"name,omitempty"`
	Channel      string   `yaml:"channel" json:"channel,omitempty"`
	KubeVersion  string   `yaml:"kubeVersion" json:"kubeVersion,omitempty"`
	GitCommit    string   `yaml:"gitCommit" json:"gitCommit,omitempty"`
	KindNode     artifact `yaml:"kindNode" json:"kindNode"`
	ETCDADM      artifact `yaml:"etcdadm" json:"etcdadm"`
	CRICTL       artifact `yaml:"crictl" json:"crictl"`
	Containerd   artifact `yaml:"containerd" json:"containerd"`
	ImageBuilder artifact `yaml:"imagebuilder" json:"imagebuilder"`
	AMI          osImages `yaml:"ami" json:"ami"`
	OVA          osImages `yaml:"ova" json:"ova"`
	Raw          osImages `yaml:"raw" json:"raw"`
}

type osImages struct {
	Bottlerocket artifact `yaml:"bottlerocket" json:"bottlerocket"`
}

// artifact is an image (with imageDigest) or a file (with sha256, sha512).
type artifact struct {
	Name        string   `yaml:"name" json:"name,omitempty"`
	Description string   `yaml:"description" json:"description,omitempty"`
	OS          string   `yaml:"os" json:"os,omitempty"`
	OSName      string   `yaml:"osName" json:"osName,omitempty"`
	Arch        []string `yaml:"arch" json:"arch,omitempty"`
	URI         string   `yaml:"uri" json:"uri,omitempty"`
	ImageDigest string   `yaml:"imageDigest" json:"imageDigest,omitempty"`
	SHA256      string   `yaml:"sha256" json:"sha256,omitempty"`
	SHA512      string   `yaml:"sha512" json:"sha512,omitempty"`
}

// tinkerbell is the bare-metal part. Nothing in it is signed.
type tinkerbell struct {
	Stack *stack `yaml:"tinkerbellStack"`
}

type stack struct {
	Actions map[string]artifact `yaml:"actions"`
	Boots   artifact            `yaml:"boots"`
	Hook    hookParts           `yaml:"hook"`
	Tink    struct {
		Worker artifact `yaml:"tinkWorker"`
	} `yaml:"tink"`
}

type hookParts struct {
	Bootkit   artifact `yaml:"bootkit"`
	Docker    artifact `yaml:"docker"`
	Kernel    artifact `yaml:"kernel"`
	Vmlinuz   byArch   `yaml:"vmlinuz"`
	Initramfs byArch   `yaml:"initramfs"`
	ISO       byArch   `yaml:"iso"`
}

type byArch struct {
	AMD artifact `yaml:"amd"`
	ARM artifact `yaml:"arm"`
}
